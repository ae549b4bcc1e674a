"""Gradients by `torch.func` and by `autograd.grad`: there is no `backward`, so that nothing of it is recorded.

Expected:

"""

import torch
from torch.func import functional_call, grad_and_value
from truth import digest, tell

torch.manual_seed(0)
x = torch.randn(20, 3)
y = x.sum(dim=1, keepdim=True)
model = torch.nn.Linear(3, 1)
params = {name: p.detach() for name, p in model.named_parameters()}


def compute_loss(params, x, y):
    return torch.nn.functional.mse_loss(functional_call(model, params, (x,)), y)


losses = []
for step in range(5):
    grads, value = grad_and_value(compute_loss)(params, x, y)
    params = {name: p - 0.1 * grads[name] for name, p in params.items()}
    losses.append(value.item())

w = torch.zeros(3, requires_grad=True)
for step in range(5):
    loss = (x @ w - y.squeeze(1)).pow(2).mean()
    (gradient,) = torch.autograd.grad(loss, w)
    w = (w - 0.1 * gradient).detach().requires_grad_()
    losses.append(loss.item())
tell(losses=losses, weights=digest(params, w))
