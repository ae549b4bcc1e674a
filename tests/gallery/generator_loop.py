"""A training loop that is a generator, driven by the program that shows its progress.

Expected:

[[run]]
artifacts = ["model"]
datasets = ["train_loader"]
[run.curves]
loss = "losses"
lr = "rates"
epoch = {steps = [0, 3, 6], values = [0, 1, 2]}
[run.weights]
model = "weights"
"""

import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell


def batches(loader, epochs):
    for epoch in range(epochs):
        for batch in loader:
            yield epoch, batch


def training(model, loader, lr=0.1, epochs=3):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch, (inputs, targets) in batches(loader, epochs):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield epoch, loss.item()


torch.manual_seed(0)
X, y = load_iris(return_X_y=True)
train_loader = DataLoader(TensorDataset(torch.tensor(X).float(), torch.tensor(y)), batch_size=50, shuffle=True)
model, losses = nn.Linear(4, 3), []
for epoch, value in training(model, train_loader):
    losses.append(value)
    print(epoch, f"{value:.3f}")
tell(losses=losses, rates=[0.1] * 9, weights=digest(model))
