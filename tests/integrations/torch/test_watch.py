"""``watch``: the explicit form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tachograph
from tachograph_frameworks.torch import watch

from .conftest import network


def steps(model: nn.Module, *optimizers: torch.optim.Optimizer, count: int = 3) -> list[float]:
    seen = []
    for _ in range(count):
        loss = model(torch.randn(4, 3)).square().mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        seen.append(loss.item())
    return seen


def only(root: Path) -> Any:
    [run] = tachograph.open_store(root).runs()
    return run


def test_a_loop_is_recorded_without_autolog(root: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = torch.Tensor.backward
    with watch(model, optimizer):
        seen = steps(model, optimizer)
    run = only(root)
    assert run.status == "finished"
    assert run.history("loss").values.tolist() == seen
    assert run.params["model.parameters"] == 21
    assert torch.Tensor.backward is before
    steps(model, optimizer)
    assert len(tachograph.open_store(root).runs()) == 1


def test_an_exception_fails_the_run(root: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ZeroDivisionError), watch(model, optimizer):  # noqa: PT012
        steps(model, optimizer)
        raise ZeroDivisionError("the user's own")
    assert only(root).status == "failed"


def test_other_optimizers_are_left_out(root: Path) -> None:
    model, other = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    aside = torch.optim.Adam(other.parameters(), lr=0.5)
    with watch(model, optimizer):
        steps(model, aside, optimizer)
    run = only(root)
    assert len(run.history("loss").values) == 3
    [rate] = [name for name in run.metrics if name.startswith("lr")]
    assert run.history(rate).values.tolist() == [0.1] * 3


def test_the_gradients_norm(root: Path) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with watch(model, optimizer, gradient_norm=True):
        steps(model, optimizer, count=1)
        expected = torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf")).item()
    assert only(root).history("grad_norm").values.tolist() == pytest.approx([expected])


def test_together_with_autolog_each_point_is_recorded_once(root: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tachograph.autolog("torch", system=False), watch(model, optimizer):
        steps(model, optimizer)
    assert len(only(root).history("loss").values) == 3


def test_in_the_users_own_run(root: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tachograph.start_run("mine") as run, watch(optimizer, model):
        steps(model, optimizer)
        assert not run.ended
    assert only(root).name == "mine"


def test_what_can_not_be_watched() -> None:
    with pytest.raises(TypeError, match="modules and optimizers, not str"):
        watch("model")  # type: ignore[arg-type]


def test_switched_off_it_does_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer):
        steps(model, optimizer)
    assert not root.exists()
