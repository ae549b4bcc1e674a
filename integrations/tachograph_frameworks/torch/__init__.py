"""Plain PyTorch: loops with no line of ours in them.

``Tensor.backward``, the data loaders, the scaler of mixed precision and ``torch.save`` are listened to; steps come from
torch's own global hook on optimizers. Modules are not hooked: calling them costs what it did.
"""

from __future__ import annotations

import torch

from tachograph.capture import seeds
from tachograph.patch import Call, Hooks, Watcher
from tachograph_frameworks.torch import watching
from tachograph_frameworks.torch.watching import Watching, watch

__all__ = ["LOOPS", "REQUIRES", "TESTED", "Watching", "install", "watch"]

REQUIRES = "torch>=2.1"
TESTED = "2.13.0"
LOOPS = True  # its trainings are no calls: their run ends with the process, or with the hooks


def install(hooks: Hooks) -> None:
    """Listen to loops."""
    watching.install(hooks)
    hooks.around(torch.random, "manual_seed", _seeded)


def _seeded(call: Call) -> Watcher:
    yield
    seeds.note("torch", call.args[0] if call.args else call.kwargs["seed"])
