"""A running average of the weights, kept beside the model that is trained.

Expected:

[[run]]
artifacts = ["model"]
datasets = ["loader"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"model.class" = "torch.nn.modules.linear.Linear"
"optimizer.class" = "AdamW"
"optimizer.weight_decay" = 0.1
[run.weights]
model = "weights"
"""

import copy

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import digest, tell


class EMA:
    def __init__(self, model, decay):
        self.module, self.decay = copy.deepcopy(model).eval(), decay

    @torch.no_grad()
    def update(self, model):
        for e, m in zip(self.module.state_dict().values(), model.state_dict().values()):
            e.copy_(self.decay * e + (1.0 - self.decay) * m)


def main():
    torch.manual_seed(0)
    X, y = load_diabetes(return_X_y=True)
    data = TensorDataset(torch.tensor(X).float(), torch.tensor(y).float() / 100)
    loader = DataLoader(data, batch_size=128, shuffle=True, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(10, 1)
    ema = EMA(model, decay=0.9)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    losses = []
    for epoch in range(3):
        for x, target in loader:
            loss = (model(x).squeeze(1) - target).abs().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            ema.update(model)
            averaged.update_parameters(model)
            losses.append(loss.item())
    tell(losses=losses, rates=[0.02] * 12, weights=digest(model), averages=digest(ema.module, averaged.module))


if __name__ == "__main__":
    main()
