"""Pretraining, then fine-tuning with another optimizer and a head on top.

Expected:

[[run]]
datasets = ["pre_loader", "fine_loader"]
[run.curves]
loss = "pre"
lr = "pre_rates"
"loss/opt_fine" = "fine"
"lr/opt_fine" = "fine_rates"
epoch = {steps = [0, 2, 4], values = [0, 1, 2]}
[run.params]
"optimizer.class" = "Adam"
"opt_fine.class" = "SGD"
"opt_fine.lr" = 0.1
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0)).float()
encoder, decoder = nn.Sequential(nn.Linear(30, 6), nn.Tanh()), nn.Linear(6, 30)


def pretrain(epochs):
    pre_loader = DataLoader(TensorDataset(X), batch_size=300)
    opt_pre = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.01)
    losses = []
    for _ in range(epochs):
        for (x,) in pre_loader:
            loss = nn.functional.mse_loss(decoder(encoder(x)), x)
            opt_pre.zero_grad()
            loss.backward()
            opt_pre.step()
            losses.append(loss.item())
    return losses


def finetune(epochs):
    head = nn.Linear(6, 2)
    classifier = nn.Sequential(encoder, head)
    fine_loader = DataLoader(TensorDataset(X, torch.tensor(y)), batch_size=150, shuffle=True)
    opt_fine = torch.optim.SGD(classifier.parameters(), lr=0.1)
    losses = []
    for _ in range(epochs):
        for x, target in fine_loader:
            loss = nn.functional.cross_entropy(classifier(x), target)
            opt_fine.zero_grad()
            loss.backward()
            opt_fine.step()
            losses.append(loss.item())
    return losses, classifier


pre = pretrain(3)
fine, classifier = finetune(2)
tell(pre=pre, pre_rates=[0.01] * 6, fine=fine, fine_rates=[0.1] * 8, weights=digest(encoder, decoder, classifier))
