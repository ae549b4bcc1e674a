"""Odd objects in the variables: a dead proxy, one that raises at every attribute, a lazy one, a class with slots.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.lr" = 0.1
[run.weights]
model = "weights"
"""

import weakref

import torch
from truth import digest, tell


class Thing:
    __slots__ = ("__weakref__", "never_set")


class Closed:
    def __getattribute__(self, name):
        raise RuntimeError(f"working outside of context: {name}")


class Lying:
    __class__ = property(lambda self: 1 / 0)

    def __eq__(self, other):
        raise TypeError

    __hash__ = None


thing = Thing()
dead = weakref.proxy(thing)
del thing
closed, lying, slotted = Closed(), Lying(), Thing()
torch.manual_seed(0)
net = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), 0.1)
losses = []
for _ in range(4):
    loss = net(torch.ones(4, 2)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    losses.append(loss.item())
tell(losses=losses, rates=[0.1] * 4, weights=digest(net))
