"""Cross-validation in one process: for each fold a new model and a new optimizer in the same variables.

Expected:

[[run]]
also = ["accuracy_score_*"]
notes = ["optimizer was made anew"]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "Adam"
"model.parameters" = 15
[run.weights]
model = "weights"
"""

import numpy as np
import torch
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold
from torch import nn
from truth import digest, tell

X, y = load_iris(return_X_y=True)
X, scores, losses = X.astype(np.float32), [], []


def train_fold(train_idx, val_idx):
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x_train, y_train = torch.from_numpy(X[train_idx]), torch.from_numpy(y[train_idx])
    for epoch in range(6):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x_train), y_train)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        predicted = model(torch.from_numpy(X[val_idx])).argmax(dim=1).numpy()
    scores.append(accuracy_score(y[val_idx], predicted))
    return model


for fold, (train_idx, val_idx) in enumerate(KFold(3, shuffle=True, random_state=0).split(X)):
    model = train_fold(train_idx, val_idx)
    print(f"fold {fold}: {scores[-1]:.3f}")
tell(losses=losses, rates=[0.05] * 18, scores=scores, weights=digest(model))
