"""A job that makes a folder for its outputs and changes to it, as Hydra does, in the middle.

Expected:

[[run]]
artifacts = ["model", "last.pt"]
[run.curves]
loss = "losses"
lr = "rates"
[run.weights]
model = "weights"

[[run]]
name = "Ridge"
parent = "chdir"
also = ["train_*", "fit_seconds"]
[run.params]
alpha = 3.0
"""

import os

import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from truth import digest, tell

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []


def train(epochs):
    for _ in range(epochs):
        loss = (model(torch.ones(2, 2)) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())


train(3)
os.makedirs("outputs/2026-01-01/12-00-00")
os.chdir("outputs/2026-01-01/12-00-00")
train(4)
torch.save(model.state_dict(), "last.pt")
ridge = Ridge(alpha=3.0).fit(*load_diabetes(return_X_y=True))
print(sorted(os.listdir()), sorted(os.listdir("../../..")))
tell(losses=losses, rates=[0.1] * 7, weights=digest(model), ridge=digest(ridge.coef_))
