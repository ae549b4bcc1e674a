"""A model and an optimizer that are left over from before, and make no step: the run's are those that train.

Expected:

[[run]]
artifacts = ["model"]
absent = ["model.encoder.*", "old_*"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "SGD"
"optimizer.lr" = 0.1
"model.parameters" = 3
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from truth import digest, tell

torch.manual_seed(0)
old_model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
old_optimizer = torch.optim.Adam(old_model.parameters(), lr=0.5)
teacher = nn.Linear(2, 1).requires_grad_(False)


def distill(steps):
    student = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        x = torch.randn(6, 2)
        loss = nn.functional.mse_loss(student(x), teacher(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, digest(student)


losses, weights = distill(7)
tell(losses=losses, rates=[0.1] * 7, weights=weights)
