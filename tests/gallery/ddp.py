"""Two processes of `mp.spawn` that meet (gloo): one run, with the losses of rank 0.

Expected:

[[run]]
writers = 2
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "SGD"
"""

import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel as DDP
from truth import digest, tell


def setup(rank, world_size, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)


def demo_basic(rank, world_size, store, results):
    setup(rank, world_size, store)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    ddp_model = DDP(model)
    optimizer = torch.optim.SGD(ddp_model.parameters(), lr=0.1)
    torch.manual_seed(rank)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = (ddp_model(torch.randn(8, 4)) - 1).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    dist.destroy_process_group()
    if rank == 0:
        results.put({"losses": losses, "rates": [0.1] * 4, "weights": digest(model)})


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(demo_basic, args=(2, os.path.abspath("store"), results), nprocs=2, join=True)
    tell(**results.get())
    sys.exit(0)
