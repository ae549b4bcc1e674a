"""`torch.multiprocessing.spawn` without a process group: each process trains on its own.

Expected:

[[run]]
each = "workers"
[run.curves]
loss = "losses"
lr = "rates"
[run.weights]
model = "weights"
"""

import torch
import torch.multiprocessing as mp
from truth import digest, tell


def worker(rank, results):
    torch.manual_seed(rank)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(4):
        loss = model(torch.ones(2, 2)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    results.put((rank, {"losses": losses, "rates": [0.1] * 4, "weights": digest(model)}))


if __name__ == "__main__":
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(worker, args=(results,), nprocs=2)
    tell(workers=[facts for _, facts in sorted(results.get() for _ in range(2))])
