"""A plain loop, then a Keras fit, then the loop again.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "plain"
lr = "rates"
[run.params]
"optimizer.class" = "SGD"
[run.weights]
model = "weights"

[[run]]
name = "scorer"
parent = "keras_between"
also = ["lr"]
artifacts = ["model"]
[run.curves]
loss = "fitted"
val_loss = "held_out"
"""

import keras
import numpy as np
import torch
from truth import digest, tell

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)
net = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
plain = []


def loop(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(torch.from_numpy(x)) - torch.from_numpy(y)).pow(2).mean()
        loss.backward()
        optimizer.step()
        plain.append(loss.item())


loop(6)
scorer = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="scorer")
scorer.compile("sgd", "mse")
history = scorer.fit(x, y, batch_size=10, epochs=3, verbose=0, validation_split=0.2).history
loop(5)
tell(
    plain=plain,
    rates=[0.01] * 11,
    fitted=history["loss"],
    held_out=history["val_loss"],
    weights=digest(net),
    keras_weights=digest(scorer.get_weights()),
)
