"""Small modules and data, in both packages, and a logger that notes what Lightning hands to its loggers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import tachograph

warnings.filterwarnings("ignore", module="lightning|pytorch_lightning")


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def pl(request: pytest.FixtureRequest) -> Any:
    """Each of the two packages."""
    return import_module(request.param)


@pytest.fixture
def store(root: Path) -> Callable[[], Any]:
    """The store as it is at the moment."""
    return lambda: tachograph.open_store(root)


@pytest.fixture
def only(store: Callable[[], Any]) -> Callable[[], Any]:
    """The one run that there must be."""

    def run() -> Any:
        runs = store().runs()
        assert len(runs) == 1, [run.name for run in runs]
        return runs[0]

    return run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Lightning writes what nobody told it to write elsewhere."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def autolog() -> Iterator[Any]:
    with tachograph.autolog("lightning", system=False) as handle:
        yield handle


def data(rows: int = 32, seed: int = 0) -> TensorDataset:
    X = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(X, X[:, :1] - X[:, 1:2])


@pytest.fixture
def train() -> Any:
    return DataLoader(data(), batch_size=8)


@pytest.fixture
def val() -> Any:
    return DataLoader(data(16, 1), batch_size=8)


@pytest.fixture
def trainer(pl: Any) -> Callable[..., Any]:
    """Makes a quiet trainer of two epochs."""

    def make(**settings: Any) -> Any:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        usual = {"max_epochs": 2, "log_every_n_steps": 2, "logger": False, "enable_checkpointing": False}
        return pl.Trainer(**{**quiet, **usual, **settings})

    return make


def module_class(pl: Any) -> Any:
    class Net(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self, lr: float = 0.1, hidden: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layers = torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1))

        def loss(self, batch: Any) -> Any:
            x, y = batch
            return ((self.layers(x) - y) ** 2).mean()

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.loss(batch)
            self.log("loss", loss, on_step=True, on_epoch=True)
            self.log("plain", loss * 2)
            return loss

        def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
            self.log("val_loss", self.loss(batch), on_step=True, on_epoch=True)

        def test_step(self, batch: Any, index: int) -> None:
            self.log("test_loss", self.loss(batch))

        def predict_step(self, batch: Any, index: int) -> Any:
            return self.layers(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    return Net


@pytest.fixture
def net_class(pl: Any) -> Any:
    return module_class(pl)


@pytest.fixture
def net(net_class: Any) -> Callable[..., Any]:
    """Makes a module whose weights are the same each time."""

    def make(kind: Any = None, **arguments: Any) -> Any:
        torch.manual_seed(0)
        return (kind or net_class)(**arguments)

    return make


@pytest.fixture
def spy(pl: Any) -> Any:
    """A logger of somebody else's."""

    class Spy(pl.loggers.Logger):  # type: ignore[misc,name-defined]
        name, version = "spy", "0"

        def __init__(self) -> None:
            super().__init__()
            self.points: dict[str, list[tuple[int, float]]] = {}
            self.params: dict[str, Any] = {}

        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            for name, value in metrics.items():
                self.points.setdefault(name, []).append((int(step), float(value)))

        def log_hyperparams(self, params: Any, *rest: Any) -> None:
            self.params |= dict(params)

    return Spy()


def points(run: Any) -> dict[str, list[tuple[int, float]]]:
    """All points of a run."""
    found = {}
    for name in run.metrics:
        history = run.history(name)
        found[name] = list(zip(history.steps.tolist(), history.values.tolist(), strict=True))
    return found


def logged(run: Any) -> dict[str, list[tuple[int, float]]]:
    """All points of a run, but for the learning rates."""
    return {name: found for name, found in points(run).items() if not name.startswith("lr-")}
