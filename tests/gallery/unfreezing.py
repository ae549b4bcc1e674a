"""Gradual unfreezing: first the head, later the body in a group of its own with a smaller rate.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "head"
"lr/1" = "body"
[run.params]
"optimizer.lr" = 0.1
"optimizer.group.1.lr" = 0.01
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from truth import digest, tell

torch.manual_seed(11)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 6), nn.ReLU())
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.body(x))


model = Net()
for p in model.body.parameters():
    p.requires_grad = False
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
inputs, labels = torch.randn(32, 5), torch.randint(0, 2, (32,))
losses = []
for epoch in range(8):
    if epoch == 3:
        for p in model.body.parameters():
            p.requires_grad = True
        optimizer.add_param_group({"params": model.body.parameters(), "lr": 0.01})
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), labels)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
later = {"steps": list(range(3, 8)), "values": [0.01] * 5}
tell(losses=losses, head=[0.1] * 8, body=later, weights=digest(model))
