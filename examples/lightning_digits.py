"""Digits with Lightning: one line records metrics, learning rate, checkpoints and the model of a classifier."""

import logging
import warnings
from tempfile import TemporaryDirectory

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

import tachograph

tachograph.autolog(experiment="digits")

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # Lightning is talkative
warnings.filterwarnings("ignore")


class Classifier(LightningModule):
    def __init__(self, hidden: int = 32, lr: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("val_accuracy", (self.layers(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


if __name__ == "__main__":
    seed_everything(1, verbose=False)
    X, y = load_digits(return_X_y=True)
    whole = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
    train, val = (DataLoader(part, batch_size=64) for part in random_split(whole, [0.8, 0.2]))
    with TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val_accuracy", mode="max")
        trainer = Trainer(max_epochs=3, log_every_n_steps=5, logger=False, callbacks=[best], enable_progress_bar=False)
        trainer.fit(Classifier(), train, val)

    run = tachograph.open_store().run("latest")
    print(run.name, "val_accuracy", round(run.metrics["val_accuracy"], 2), "best at step", run.artifact("best").step)
