"""A package with subcommands: `python -m churn --seed 3 train --hidden 6`.

Expected:

module = true
args = ["--seed", "3", "train", "--hidden", "6", "--no-shuffle"]

[[run]]
artifacts = ["model"]
datasets = ["loader"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
command = "train"
seed = 3
hidden = 6
shuffle = false
"optimizer.lr" = 0.05
"model.class" = "churn.model.Net"
[run.weights]
model = "weights"
"""

import argparse

import torch
from sklearn.datasets import load_breast_cancer
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell

from .model import Net


def train(args):
    torch.manual_seed(args.seed)
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    loader = DataLoader(TensorDataset(torch.tensor(X).float(), torch.tensor(y).float()), 200, shuffle=args.shuffle)
    net, losses = Net(args.hidden), []
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)
    for epoch in range(2):
        for x, target in loader:
            opt.zero_grad()
            loss = binary_cross_entropy_with_logits(net(x), target)
            loss.backward()
            opt.step()
            losses.append(loss.item())
    tell(losses=losses, rates=[args.lr] * len(losses), weights=digest(net))


parser = argparse.ArgumentParser(prog="churn")
parser.add_argument("--seed", type=int, default=0)
commands = parser.add_subparsers(dest="command", required=True)
fit = commands.add_parser("train")
fit.add_argument("--hidden", type=int, default=4)
fit.add_argument("--lr", type=float, default=0.05)
fit.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True)
fit.set_defaults(run=train)
commands.add_parser("show")
args = parser.parse_args()
args.run(args)
