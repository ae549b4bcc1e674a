"""An executor whose process is started by forkserver.

Expected:

[[run]]
each = "jobs"
[run.curves]
loss = "losses"
lr = "rates"
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

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
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        tell(jobs=[executor.submit(train, 7).result()])
