"""In a notebook a loop's run ends with its cell; with a real shell of IPython."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tachograph

SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="NoColor")
shell.history_manager.enabled = False
for cell in [
    "import torch, tachograph; tachograph.autolog('torch', system=False)",
    '''
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    my_loss = model(torch.randn(4, 3)).square().mean()
    my_loss.backward()
    optimizer.step()
''',
    "assert tachograph.active_run() is None",
    '''
my_loss = model(torch.randn(4, 3)).square().mean()
my_loss.backward()
optimizer.step()
1 / 0
''',
]:
    shell.run_cell(cell)
"""


def test_a_run_ends_with_its_cell(script: Callable[..., object], root: Path) -> None:
    done = script(SHELL)
    first, second = sorted(tachograph.open_store(root).runs(), key=lambda run: run.started)
    assert (first.status, second.status) == ("finished", "failed"), done
    assert first.history("my_loss").steps.tolist() == [0, 1, 2]
    assert second.error.type == "ZeroDivisionError"
    assert first.ended <= second.started


RUN = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="NoColor")
shell.history_manager.enabled = False
for cell in ["import tachograph; tachograph.autolog('torch', system=False)", "%run script.py --lr 0.5 --fail",
             "%run script.py --lr 0.25", "%run plain.py"]:
    shell.run_cell(cell)
"""
LOOP = """
import torch

def train(lr):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    loss = model(torch.randn(4, 3)).square().mean()
    loss.backward()
    optimizer.step()
"""
PARSED = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--fail", action="store_true")
arguments = parser.parse_args()
train(arguments.lr)
if arguments.fail:
    1 / 0
"""


@pytest.mark.slow
def test_scripts_that_a_cell_runs(script: Callable[..., object], root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(LOOP + PARSED)
    (tmp_path / "plain.py").write_text(LOOP + "train(0.125)")
    done = script(RUN)
    runs = sorted(tachograph.open_store(root).runs(), key=lambda run: run.started)
    assert [(run.status, run.params.get("lr"), run.params["optimizer.lr"]) for run in runs] == [
        ("failed", 0.5, 0.5),
        ("finished", 0.25, 0.25),
        ("finished", None, 0.125),
    ], done
    assert runs[0].error.type == "ZeroDivisionError"
