"""A training that is done early, and says so by `sys.exit(0)`.

Expected:


[[run]]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.momentum" = 0.9
[run.weights]
model = "weights"
"""

import sys

import torch
from torch import nn
from truth import digest, tell

torch.manual_seed(0)
model, losses = nn.Linear(3, 1), []
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
x = torch.randn(12, 3)
for epoch in range(100):
    loss = nn.functional.mse_loss(model(x), x[:, :1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if epoch == 6:
        tell(losses=losses, rates=[0.05] * 7, weights=digest(model))
        sys.exit(0)
