"""MAML: for each task a copy of the model with an optimizer of its own, then a step of the outer one.

Expected:

[[run]]
artifacts = ["meta"]
notes = ["inner_opt was made anew"]
[run.curves]
inner_loss = "inner"
"lr/inner_opt" = "inner_rates"
"lr/meta_opt" = "meta_rates"
[run.params]
"meta_opt.class" = "Adam"
"inner_opt.lr" = 0.05
[run.weights]
meta = "weights"
"""

import copy

import torch
from torch import nn
from truth import digest, tell

torch.manual_seed(0)
meta = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
meta_opt = torch.optim.Adam(meta.parameters(), lr=1e-2)
criterion = nn.MSELoss()
inner_losses = []


def sample_task():
    amplitude, phase = torch.rand(1) * 4 + 1, torch.rand(1) * 3
    x = torch.rand(10, 1) * 10 - 5
    return x, amplitude * torch.sin(x + phase)


for iteration in range(5):
    meta_opt.zero_grad()
    for task in range(3):
        x, y = sample_task()
        fast = copy.deepcopy(meta)
        inner_opt = torch.optim.SGD(fast.parameters(), lr=0.05)
        for _ in range(2):
            inner_loss = criterion(fast(x[:5]), y[:5])
            inner_opt.zero_grad()
            inner_loss.backward()
            inner_opt.step()
            inner_losses.append(inner_loss.item())
        # first-order: the gradient at the adapted weights moves the initial ones
        outer_loss = criterion(fast(x[5:]), y[5:])
        grads = torch.autograd.grad(outer_loss, fast.parameters())
        for parameter, grad in zip(meta.parameters(), grads):
            parameter.grad = grad if parameter.grad is None else parameter.grad + grad
    meta_opt.step()
tell(
    inner=inner_losses,
    inner_rates=[0.05] * len(inner_losses),
    meta_rates=[0.01] * 5,
    weights=digest(meta),
)
