"""Gradients of three batches for one step, with the loss divided, and a last step of what is left over.

Expected:

[[run]]
artifacts = ["model"]
datasets = ["loader"]
[run.curves]
loss = "means"
lr = "rates"
"grad_norm" = "norms"
[run.params]
"loader.batch_size" = 60
[run.weights]
model = "weights"
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
loader = DataLoader(TensorDataset(torch.tensor(X[:400]).float() / 16, torch.tensor(y[:400])), batch_size=60)
model = nn.Linear(64, 10)
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
accumulation_steps = 3
means, norms, waiting = [], [], []
for epoch in range(2):
    optimizer.zero_grad()
    for i, (images, labels) in enumerate(loader):
        loss = nn.functional.cross_entropy(model(images), labels)
        loss = loss / accumulation_steps
        loss.backward()
        waiting.append(loss.item())
        if (i + 1) % accumulation_steps == 0 or i + 1 == len(loader):
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 5.0)))
            optimizer.step()
            optimizer.zero_grad()
            means.append(sum(waiting) / len(waiting))
            waiting.clear()
tell(means=means, norms=norms, rates=[0.01] * len(means), weights=digest(model))
