"""Two trainings as generators, gone on with in turn: a race between learning rates, left between backward and step.

Expected:

[[run]]
artifacts = ["model", "net"]
[run.curves]
loss = "slow"
"loss/optimizer.2" = "fast"
lr = "slow_rates"
"lr/optimizer.2" = "fast_rates"
"""

import torch
from torch import nn
from truth import tell


def training(lr, losses):
    generator = torch.Generator().manual_seed(0)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(6):
        batch = torch.randn(8, 3, generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.l1_loss(net(batch), batch.sum(dim=1, keepdim=True))
        loss.backward()
        yield "looked"
        optimizer.step()
        losses.append(loss.item())
        yield "stepped"


torch.manual_seed(0)
slow, fast = [], []
for states in zip(training(0.01, slow), training(0.1, fast), strict=True):
    print(*states)
tell(slow=slow, fast=fast, slow_rates=[0.01] * 6, fast_rates=[0.1] * 6)
