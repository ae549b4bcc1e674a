"""An async loop that waits for its batches, while another task looks at the progress.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.weights]
model = "weights"
"""

import asyncio

import torch
from torch import nn
from truth import digest, tell


async def produce(queue, count):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        await asyncio.sleep(0.001)
        await queue.put(torch.randn(8, 3, generator=generator))
    await queue.put(None)


async def train(queue, model, losses):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    while (batch := await queue.get()) is not None:
        optimizer.zero_grad()
        loss = nn.functional.l1_loss(model(batch), batch.sum(dim=1, keepdim=True))
        loss.backward()
        await asyncio.sleep(0)
        optimizer.step()
        losses.append(loss.item())


async def main():
    torch.manual_seed(0)
    queue, model, losses = asyncio.Queue(maxsize=2), nn.Linear(3, 1), []
    await asyncio.gather(produce(queue, 12), train(queue, model, losses))
    tell(losses=losses, rates=[0.02] * 12, weights=digest(model))


asyncio.run(main())
