"""DQN with Keras, where each step of the agent is a `fit` of one epoch.

Expected:

[[run]]
name = "q_network"
also = ["lr"]
artifacts = ["model"]
[run.curves]
loss = "losses"
[run.params]
optimizer = "Adam"
epochs = 1
"""

import random
from collections import deque

import keras
import numpy as np
from truth import digest, tell

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)


def build_model():
    model = keras.Sequential(name="q_network")
    model.add(keras.Input((4,)))
    model.add(keras.layers.Dense(8, activation="relu"))
    model.add(keras.layers.Dense(2, activation="linear"))
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(learning_rate=0.01))
    return model


model, memory, losses = build_model(), deque(maxlen=50), []


def replay(batch_size=8, gamma=0.95):
    minibatch = random.sample(memory, batch_size)
    states = np.stack([item[0] for item in minibatch])
    target = model.predict(states, verbose=0)
    future = model.predict(np.stack([item[3] for item in minibatch]), verbose=0).max(axis=1)
    for row, (_, action, reward, _, done) in enumerate(minibatch):
        target[row, action] = reward if done else reward + gamma * future[row]
    history = model.fit(states, target, epochs=1, verbose=0)
    losses.append(history.history["loss"][0])


state = rng.normal(size=4).astype("float32")
for step in range(20):
    action = int(rng.integers(2))
    next_state = rng.normal(size=4).astype("float32")
    memory.append((state, action, float(action == (state[0] > 0)), next_state, step % 7 == 6))
    state = next_state
    if len(memory) >= 8:
        replay()
tell(losses=losses, weights=digest(model.get_weights()))
