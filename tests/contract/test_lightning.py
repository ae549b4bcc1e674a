"""The Lightning plug-in keeps the promises, as ``tachograph.testing`` states them."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from tachograph.testing import check_plugin

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Net(LightningModule):  # type: ignore[misc]
    """A line through points."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = (self.layer(batch[0]) - batch[1]).pow(2).mean()
        self.log("loss", loss)
        return loss

    def test_step(self, batch: Any, index: int) -> None:
        self.log("test_loss", (self.layer(batch[0]) - batch[1]).pow(2).mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> Any:
    X = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(X, X[:, :1]), batch_size=8)


def trainer(**settings: Any) -> Any:
    warnings.filterwarnings("ignore", module="lightning")
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    return Trainer(max_epochs=2, log_every_n_steps=1, enable_checkpointing=False, **quiet, **settings)


def fit() -> Any:
    torch.manual_seed(0)
    module = Net()
    trainer().fit(module, loader())
    return [value.tolist() for value in module.state_dict().values()]


def fit_and_test() -> Any:
    torch.manual_seed(0)
    module, at_work = Net(), trainer()
    at_work.fit(module, loader())
    return at_work.test(module, loader(), verbose=False)


@pytest.mark.parametrize("training", [fit, fit_and_test])
def test_lightning(training: Any) -> None:
    check_plugin("tachograph_frameworks.lightning", training)
