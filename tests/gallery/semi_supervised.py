"""Two loaders and two losses: a few labels, and many rows without.

Expected:

[[run]]
artifacts = ["model"]
datasets = ["labeled", "unlabeled"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"labeled.batch_size" = 10
"unlabeled.batch_size" = 20
"optimizer.nesterov" = true
[run.weights]
model = "weights"
"""

import itertools

import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell

torch.manual_seed(5)
X, y = load_wine(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0)).float()
few, many = TensorDataset(X[::6], torch.tensor(y[::6])), TensorDataset(X)
labeled, unlabeled = DataLoader(few, batch_size=10), DataLoader(many, batch_size=20, shuffle=True)
model = nn.Sequential(nn.Linear(13, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True)
endless, losses = itertools.cycle(labeled), []
for epoch in range(2):
    for (x_u,) in unlabeled:
        x_l, y_l = next(endless)
        supervised = F.cross_entropy(model(x_l), y_l)
        with torch.no_grad():
            guess = torch.softmax(model(x_u), dim=1)
        sure = guess.max(dim=1).values > 0.4
        logits = model(x_u + 0.05 * torch.randn_like(x_u))
        consistency = (F.cross_entropy(logits, guess.argmax(dim=1), reduction="none") * sure).mean()
        optimizer.zero_grad()
        loss = supervised + 0.5 * consistency
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
tell(losses=losses, rates=[0.03] * len(losses), weights=digest(model))
