"""Mixed precision that is switched off on a CPU, as in most training scripts.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
grad_norm = "norms"
[run.params]
"optimizer.class" = "AdamW"
"scheduler.class" = "OneCycleLR"
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from truth import digest, tell

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
use_amp = device == "cuda"
model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 1)).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=12)
scaler = torch.amp.GradScaler(device, enabled=use_amp)
x, losses, rates, norms = torch.randn(64, 8, device=device), [], [], []
for step in range(12):
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device_type=device, enabled=use_amp):
        loss = nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
    rates.append(optimizer.param_groups[0]["lr"])
    scaler.step(optimizer)
    scaler.update()
    scheduler.step()
    losses.append(loss.item())
tell(losses=losses, rates=rates, norms=norms, weights=digest(model))
