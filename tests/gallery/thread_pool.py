"""A thread pool that trains four models at once, each in a thread of its own.

Expected:

[[run]]
each = "jobs"
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "SGD"
[run.weights]
model = "weights"
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from truth import digest, tell

torch.set_num_threads(1)
together = threading.Barrier(4)


def train(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 4, generator=generator)
    model = torch.nn.Linear(4, 1)
    with torch.no_grad():
        model.weight.copy_(torch.randn(1, 4, generator=generator))
        model.bias.zero_()
    rate = 10.0 ** -(seed + 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    together.wait()  # each has its thread
    for step in range(50):
        optimizer.zero_grad()
        loss = (model(x) - 1).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "rates": [rate] * 50, "weights": digest(model)}


with ThreadPoolExecutor(max_workers=4) as pool:
    jobs = list(pool.map(train, range(4)))
tell(jobs=jobs)
