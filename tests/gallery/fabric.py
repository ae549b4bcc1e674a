"""Fabric with gradients of several batches in a step.

Expected:

[[run]]
artifacts = ["model"]
datasets = ["loader"]
[run.curves]
loss = "means"
lr = "rates"
[run.params]
"optimizer.class" = "AdamW"
[run.weights]
model = "weights"
"""

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell

ACCUMULATE = 2
fabric = Fabric(accelerator="cpu", devices=1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.01))
data = torch.randn(48, 5)
loader = fabric.setup_dataloaders(DataLoader(TensorDataset(data), batch_size=8))
means, waiting = [], []
for epoch in range(2):
    for batch_idx, (batch,) in enumerate(loader):
        is_accumulating = (batch_idx + 1) % ACCUMULATE != 0
        with fabric.no_backward_sync(model, enabled=is_accumulating):
            loss = nn.functional.mse_loss(model(batch), batch.mean(dim=1, keepdim=True))
            fabric.backward(loss / ACCUMULATE)
        waiting.append(loss.item())
        if not is_accumulating:
            optimizer.step()
            optimizer.zero_grad()
            means.append(sum(waiting) / ACCUMULATE)
            waiting.clear()
tell(means=means, rates=[0.01] * 6, weights=digest(model.state_dict()))
