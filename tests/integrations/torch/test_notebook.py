"""In a notebook a loop's run ends with its cell; with a real shell of IPython."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
