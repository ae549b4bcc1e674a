"""A learning rate that is a tensor, as compiled and capturable optimizers need, which a scheduler fills in place.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"scheduler.gamma" = 0.5
[run.weights]
model = "weights"
"""

import torch
from truth import digest, tell

torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1), foreach=False)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
X, losses, rates = torch.randn(10, 3), [], []
for epoch in range(6):
    rates.append(float(optimizer.param_groups[0]["lr"]))
    loss = (model(X) - 1).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    scheduler.step()
    losses.append(loss.item())
tell(losses=losses, rates=rates, weights=digest(model))
