"""A small training in each framework, and what a run of the plain loop holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
import xgboost
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
y = (X[:, 0] > X[:, 1]).astype("int64")
BOOSTED = {"n_estimators": 3, "max_depth": 2, "n_jobs": 1}
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}


def keras_model() -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")], name="digits")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Net(LightningModule):  # type: ignore[misc]
    def __init__(self, lr: float = 0.1, inner: Any = None) -> None:
        super().__init__()
        self.save_hyperparameters("lr")
        self.layer, self.inner = nn.Linear(3, 1), inner

    def training_step(self, batch: Any, index: int) -> Any:
        loss = (self.layer(batch[0])[:, 0] - batch[1]).square().mean()
        self.log("train_loss", loss)
        return loss

    def on_train_epoch_end(self) -> None:
        if self.inner is not None:
            self.inner()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.hparams["lr"])


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.tensor(X), torch.tensor(y)), batch_size=20)


def fit_lightning(lr: float = 0.1, inner: Any = None) -> None:
    trainer = Trainer(max_epochs=2, log_every_n_steps=1, accelerator="cpu", **QUIET)
    trainer.fit(Net(lr, inner), loader())


def plain_loop(inner: Callable[[], object] = lambda: None) -> None:
    net = nn.Linear(3, 2)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    train = loader()
    for _ in range(2):
        for inputs, targets in train:
            sgd.zero_grad()
            loss = nn.functional.cross_entropy(net(inputs), targets)
            loss.backward()
            sgd.step()
        inner()


def boost() -> None:
    data = xgboost.DMatrix(X, y)
    xgboost.train({"nthread": 1, "objective": "binary:logistic"}, data, 3, evals=[(data, "train")], verbose_eval=False)


def steps(run: Any, name: str) -> list[int]:
    found: list[int] = run.history(name).steps.tolist()
    return found


def names(run: Any) -> set[str]:
    return {artifact.name for artifact in run.artifacts}


def assert_is_loop(run: Any) -> None:
    assert steps(run, "loss") == steps(run, "lr") == list(range(6))
    assert steps(run, "epoch") == [0, 3]
    assert {"model", "model_summary"} <= names(run)
    assert run.params["optimizer.class"] == "SGD"
