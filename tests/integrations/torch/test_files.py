"""Checkpoints that the user's code writes, and what a training was resumed from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tachograph
from tachograph import journal
from tachograph.events import Link

from .conftest import network


def train(model: nn.Module, steps: int, after: Callable[[int], None] = lambda step: None) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        loss = model(torch.randn(4, 3)).square().mean()
        loss.backward()
        optimizer.step()
        after(step)


def links(run: Any) -> list[Link]:
    return [
        event for writer in journal.writers(run.dir) for event in journal.read_writer(writer) if isinstance(event, Link)
    ]


def test_each_checkpoint_is_on_record_and_the_last_one_is_kept(recorded: Callable[[], Any], tmp_path: Path) -> None:
    model = network()
    train(model, 3, lambda step: torch.save(model.state_dict(), tmp_path / f"epoch_{step}.pt"))
    kept = [artifact for artifact in recorded().artifacts if artifact.kind == "checkpoint"]
    assert [(artifact.name, artifact.filename, artifact.step) for artifact in kept] == [
        ("epoch_*.pt", f"epoch_{step}.pt", step) for step in range(3)
    ]
    assert kept[-1].path().read_bytes() == (tmp_path / "epoch_2.pt").read_bytes()
    with pytest.raises(tachograph.NotFound, match="let go"):
        kept[0].path()


def test_the_best_one_stays_while_others_are_written(recorded: Callable[[], Any], tmp_path: Path) -> None:
    model = network()

    def save(step: int) -> None:
        torch.save({"step": step}, tmp_path / ("best.pt" if step == 1 else "last.pt"))

    train(model, 4, save)
    run = recorded()
    assert torch.load(run.artifact("best.pt").path()) == {"step": 1}
    assert torch.load(run.artifact("last.pt").path()) == {"step": 3}


def test_all_or_none(root: Path, tmp_path: Path) -> None:
    for policy, count in (("all", 3), (False, 0)):
        with tachograph.autolog("torch", system=False, checkpoints=policy, tags={"policy": str(policy)}):
            model = network()
            train(model, 3, lambda step: torch.save({"step": step}, tmp_path / f"{step}.pt"))
        run = tachograph.open_store(root).run("latest")
        kept = [artifact for artifact in run.artifacts if artifact.kind == "checkpoint"]
        assert [torch.load(artifact.path())["step"] for artifact in kept] == list(range(count))


def test_saving_before_any_training_makes_no_run(autolog: Any, root: Path, tmp_path: Path) -> None:
    torch.save({"x": 1}, tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt")
    autolog.undo()
    assert not tachograph.open_store(root).runs()


def test_what_a_training_was_resumed_from(recorded: Callable[[], Any], tmp_path: Path) -> None:
    path = tmp_path / "start.pt"
    model = network()
    torch.save(model.state_dict(), path)
    torch.save(torch.zeros(3), tmp_path / "data.pt")
    torch.load(tmp_path / "data.pt")
    model.load_state_dict(torch.load(path))
    train(model, 1)
    [link] = links(recorded())
    assert link.relation == "resumed from"
    assert link.meta["path"] == str(path)
    assert link.target.startswith("sha256:")


def test_an_open_file_is_left_alone(recorded: Callable[[], Any], tmp_path: Path) -> None:
    model = network()

    def save(step: int) -> None:
        with open(tmp_path / "x.pt", "wb") as file:
            torch.save(model.state_dict(), file)

    train(model, 1, save)
    assert "checkpoint" not in {artifact.kind for artifact in recorded().artifacts}
