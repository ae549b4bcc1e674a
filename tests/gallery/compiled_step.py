"""A step that `torch.compile` compiles (with the eager back end), gradients clipped inside.

Expected:

[[run]]
also = ["grad_norm"]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "SGD"
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from truth import digest, tell

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(16, 4)


@torch.compile(backend="eager")
def compute_loss(inputs, targets):
    return nn.functional.mse_loss(model(inputs), targets)


@torch.compile(backend="eager", fullgraph=True)
def clip():
    return nn.utils.clip_grad_norm_(model.parameters(), 0.5)


losses, norms = [], []
for step in range(6):
    loss = compute_loss(x, x.sum(dim=1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    norms.append(clip().item())
    optimizer.step()
    losses.append(loss.item())
tell(losses=losses, norms=norms, rates=[0.1] * 6, weights=digest(model))
