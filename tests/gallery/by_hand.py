"""Linear regression with updates by hand, without an optimizer, as in tutorials.

Expected:

[[run]]
[run.curves]
l = "losses"
"""

import torch
from truth import digest, tell

torch.manual_seed(0)
true_w, true_b = torch.tensor([2.0, -3.4]), 4.2
X = torch.normal(0, 1, (100, 2))
y = X @ true_w + true_b + torch.normal(0, 0.01, (100,))
w = torch.normal(0, 0.01, size=(2,), requires_grad=True)
b = torch.zeros(1, requires_grad=True)


def sgd(params, lr, batch_size):
    with torch.no_grad():
        for param in params:
            param -= lr * param.grad / batch_size
            param.grad.zero_()


losses = []
for epoch in range(3):
    for rows in torch.randperm(100).split(25):
        l = ((X[rows] @ w + b - y[rows]) ** 2 / 2).sum()
        l.backward()
        sgd([w, b], lr=0.3, batch_size=25)
        losses.append(l.item())
tell(losses=losses, weights=digest([w, b]))
