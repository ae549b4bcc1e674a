"""`os.fork` in the middle: the child goes on by itself, as a second writer of the run, and then the parent.

Expected:

[[run]]
writers = 2
artifacts = ["model"]
[run.curves]
loss = "both"
lr = "rates"
[run.params]
"optimizer.class" = "SGD"
"""

import json
import os
import sys

import torch
from truth import digest, tell

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []


def train(epochs):
    for _ in range(epochs):
        loss = (model(torch.ones(2, 2)) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())


train(3)
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(reading)
    with torch.no_grad():
        model.weight.zero_()
    train(2)
    os.write(writing, json.dumps(losses[3:]).encode())
    sys.exit(0)
os.close(writing)
_, status = os.waitpid(pid, 0)
with os.fdopen(reading) as pipe:
    childs = json.load(pipe)
train(4)
steps, values = [*range(5), *range(3, 7)], losses[:3] + childs + losses[3:]
tell(
    both={"steps": steps, "values": values},
    rates={"steps": steps, "values": [0.1] * 9},
    status=status,
    weights=digest(model),
)
