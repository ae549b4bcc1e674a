"""A signal handler that evaluates and fits, and one that asks the loop to stop after the step.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.weights]
model = "weights"

[[run]]
name = "LogisticRegression"
parent = "signal_handler"
also = ["train_*", "fit_seconds", "n_iter", "score_*"]

[[run]]
name = "LogisticRegression"
parent = "signal_handler"
also = ["train_*", "fit_seconds", "n_iter", "score_*"]
"""

import signal

import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from torch import nn
from truth import digest, tell

X, y = load_iris(return_X_y=True)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
inputs, labels = torch.tensor(X).float(), torch.tensor(y)
stop, losses, probes = False, [], []


def probe(signum, frame):
    with torch.no_grad():
        features = model[:2](inputs).numpy()
    probes.append(LogisticRegression(max_iter=1000).fit(features, y).score(features, y))


def ask_to_stop(signum, frame):
    global stop
    stop = True


signal.signal(signal.SIGUSR1, probe)
signal.signal(signal.SIGTERM, ask_to_stop)
step = 0
while not stop:
    loss = nn.functional.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    if step in (3, 6):
        signal.raise_signal(signal.SIGUSR1)
    if step == 9:
        signal.raise_signal(signal.SIGTERM)
    optimizer.step()
    losses.append(loss.item())
    step += 1
tell(losses=losses, rates=[0.01] * 10, probes=probes, weights=digest(model))
