"""Sharpness-aware minimization: an optimizer around another one, with two backward passes a step.

Expected:

[[run]]
artifacts = ["model"]
datasets = ["train_loader"]
[run.curves]
loss = "losses"
unnamed_loss = "perturbed"
lr = "rates"
[run.params]
"optimizer.class" = "SAM"
"optimizer.lr" = 0.1
"optimizer.rho" = 0.05
[run.weights]
model = "weights"
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.norm(torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * group["rho"] / (norm + 1e-12))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()


torch.manual_seed(42)
X, y = load_iris(return_X_y=True)
train_loader = DataLoader(TensorDataset(torch.tensor(X).float(), torch.tensor(y)), batch_size=50)
model = torch.nn.Linear(4, 3)
optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
losses, perturbed = [], []
for epoch in range(4):
    for inputs, targets in train_loader:
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.first_step(zero_grad=True)
        with torch.no_grad():
            perturbed.append(F.cross_entropy(model(inputs), targets).item())
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.second_step(zero_grad=True)
        losses.append(loss.item())
tell(losses=losses, perturbed=perturbed, rates=[0.1] * 12, weights=digest(model))
