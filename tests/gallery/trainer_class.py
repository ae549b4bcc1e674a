"""A Trainer of one's own: everything in attributes, settings in a dict, the best model saved, callbacks called.

Expected:

[[run]]
also = ["eval_seconds"]
artifacts = ["model", "best.pt"]
datasets = ["train_loader"]
[run.curves]
loss = "losses"
lr = "rates"
grad_norm = "norms"
[run.params]
"optimizer.class" = "SGD"
"optimizer.lr" = 0.2
"scheduler.gamma" = 0.5
"train_loader.batch_size" = 500
[run.weights]
model = "weights"
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from truth import digest, tell


class History:
    def on_batch_end(self, trainer):
        self.losses = [*getattr(self, "losses", []), trainer.loss.item()]


class Trainer:
    def __init__(self, model, config, callbacks):
        self.model, self.config, self.callbacks = model, config, callbacks
        X, y = load_digits(return_X_y=True)
        data = TensorDataset(torch.tensor(X).float() / 16, torch.tensor(y))
        train, val = random_split(data, [1500, 297], torch.Generator().manual_seed(0))
        self.train_loader = DataLoader(train, batch_size=config["batch_size"], shuffle=True)
        self.val_loader = DataLoader(val, batch_size=297)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.5)
        self.criterion, self.best, self.rates, self.norms = nn.CrossEntropyLoss(), 0.0, [], []

    def _train_one_epoch(self):
        self.model.train()
        for self.inputs, self.targets in self.train_loader:
            self.optimizer.zero_grad()
            self.loss = self.criterion(self.model(self.inputs), self.targets)
            self.loss.backward()
            self.norms.append(nn.utils.clip_grad_norm_(self.model.parameters(), 1.0).item())
            self.rates.append(self.optimizer.param_groups[0]["lr"])
            self.optimizer.step()
            for callback in self.callbacks:
                callback.on_batch_end(self)
        self.scheduler.step()

    @torch.no_grad()
    def _validate(self):
        self.model.eval()
        right = sum((self.model(x).argmax(1) == y).sum().item() for x, y in self.val_loader)
        if right > self.best:
            self.best = right
            torch.save(self.model.state_dict(), "best.pt")

    def fit(self):
        for self.epoch in range(self.config["epochs"]):
            self._train_one_epoch()
            self._validate()


torch.manual_seed(0)
history = History()
trainer = Trainer(nn.Linear(64, 10), {"lr": 0.2, "batch_size": 500, "epochs": 2}, [history])
trainer.fit()
tell(losses=history.losses, rates=trainer.rates, norms=trainer.norms, weights=digest(trainer.model))
