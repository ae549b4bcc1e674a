"""Losses of a tensor class with `__torch_function__`, as fastai and others have.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
total = "totals"
lr = "rates"
[run.weights]
model = "weights"
"""

import torch
from truth import digest, tell


class TensorBase(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return super().__torch_function__(func, types, args, kwargs or {})


torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
totals = []
for _ in range(6):
    optimizer.zero_grad()
    total = model(torch.ones(8, 4)).pow(2).mean().as_subclass(TensorBase)
    total.backward()
    optimizer.step()
    totals.append(total.item())
tell(totals=totals, rates=[0.01] * 6, weights=digest(model))
