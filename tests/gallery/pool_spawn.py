"""A pool of a process that is started by spawn.

Expected:

[[run]]
each = "jobs"
[run.curves]
loss = "losses"
lr = "rates"
"""

import multiprocessing

import torch
from truth import digest, tell


def train(seed):
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, losses = torch.randn(9, 3), []
    for _ in range(5):
        loss = (model(x) - seed).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "rates": [0.1] * 5, "weights": digest(model)}


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        jobs = pool.map(train, [3])
        pool.close()
        pool.join()
    tell(jobs=jobs)
