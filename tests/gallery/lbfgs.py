"""L-BFGS, whose step evaluates a closure several times.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "means"
lr = "rates"
[run.params]
"optimizer.class" = "LBFGS"
"optimizer.max_iter" = 4
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from truth import digest, tell

torch.manual_seed(0)
x = torch.linspace(-1, 1, 30).unsqueeze(1)
y = 3 * x - 0.7 + 0.1 * torch.randn(30, 1)
model = nn.Linear(1, 1)
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
criterion = nn.MSELoss()
means = []
for epoch in range(5):
    evaluated = []

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        evaluated.append(loss.item())
        return loss

    optimizer.step(closure)
    means.append(sum(evaluated) / len(evaluated))
tell(means=means, rates=[0.5] * 5, weights=digest(model))
