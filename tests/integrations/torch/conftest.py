"""Small loops, and the store that they are recorded to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tachograph


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def autolog() -> Iterator[tachograph.Autolog]:
    """Autolog for torch alone, without hardware samples."""
    with tachograph.autolog("torch", system=False) as handle:
        yield handle


@pytest.fixture
def recorded(autolog: tachograph.Autolog, root: Path) -> Callable[[], Any]:
    """Ends what the loop had open, and gives the only run."""

    def only() -> Any:
        autolog.undo()
        [run] = tachograph.open_store(root).runs()
        return run

    return only


@pytest.fixture
def data() -> TensorDataset:
    return TensorDataset(torch.randn(40, 3), torch.randn(40, 1))


@pytest.fixture
def loader(data: TensorDataset) -> DataLoader[Any]:
    return DataLoader(data, batch_size=10)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


Recorded = Callable[[], Any]  # ends autolog, and gives the only run


def curve(run: Any, name: str) -> list[tuple[int, float]]:
    history = run.history(name)
    return list(zip(history.steps.tolist(), [round(value, 6) for value in history.values.tolist()], strict=True))


def steps(run: Any, name: str) -> list[int]:
    found: list[int] = run.history(name).steps.tolist()
    return found
