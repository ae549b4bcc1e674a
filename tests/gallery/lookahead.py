"""Lookahead around Adam, both with a `step`, and a scheduler on the inner one.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "Lookahead"
"optimizer.lr" = 0.05
"scheduler.class" = "StepLR"
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from truth import digest, tell


class Lookahead(torch.optim.Optimizer):
    def __init__(self, optimizer, k=3, alpha=0.5):
        self.optimizer, self.k, self.alpha, self.counter = optimizer, k, alpha, 0
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.param_groups = optimizer.param_groups
        self.slow = [[p.clone().detach() for p in g["params"]] for g in self.param_groups]

    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        self.counter += 1
        if self.counter % self.k == 0:
            for group, slow in zip(self.param_groups, self.slow):
                for p, q in zip(group["params"], slow):
                    q.add_(p.data - q, alpha=self.alpha)
                    p.data.copy_(q)
        return loss


torch.manual_seed(3)
net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
base = torch.optim.Adam(net.parameters(), lr=0.05)
scheduler = torch.optim.lr_scheduler.StepLR(base, step_size=4, gamma=0.5)
opt = Lookahead(base)
X, losses, rates = torch.randn(20, 6), [], []
for epoch in range(9):
    opt.zero_grad()
    loss = nn.functional.mse_loss(net(X), X[:, :1])
    loss.backward()
    rates.append(base.param_groups[0]["lr"])
    opt.step()
    scheduler.step()
    losses.append(loss.item())
tell(losses=losses, rates=rates, weights=digest(net))
