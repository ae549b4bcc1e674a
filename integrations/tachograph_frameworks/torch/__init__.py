"""Plain PyTorch: loops with no line of ours in them.

``Tensor.backward``, the data loaders, the scaler of mixed precision and ``torch.save`` are listened to; steps come from
torch's own global hook on optimizers. Modules are not hooked: calling them costs what it did.
"""

from __future__ import annotations

import sys

import torch

from tachograph.capture import seeds
from tachograph.hooks import Call, Hooks, Watcher
from tachograph.record import launchers
from tachograph.runtime import import_hooks
from tachograph_frameworks.torch import watching
from tachograph_frameworks.torch.distributed import distributed_job
from tachograph_frameworks.torch.watching import Watching, watch

__all__ = ["LOOPS", "REQUIRES", "TESTED", "Watching", "install", "watch"]

REQUIRES = "torch>=2.4"
TESTED = "2.13.0"
LOOPS = True  # its trainings are no calls: their run ends with the process, or with the hooks


def install(hooks: Hooks) -> None:
    """Listen to loops."""
    hooks.native(launchers.announce(distributed_job))
    watching.install(hooks)
    hooks.around(torch.random, "manual_seed", _seeded)
    if (seed := torch.initial_seed()) < _CHOSEN:
        seeds.by_library.setdefault("torch", seed)
    hooks.native(import_hooks.when_imported(_COMPILER, _leave_us_out))


_CHOSEN = 1 << 32  # what nobody has seeded begins with a number of 64 bits
_COMPILER = "torch._dynamo.trace_rules"


def _leave_us_out() -> None:
    """``torch.compile`` must not try to compile what listens to the loop."""
    rules = sys.modules[_COMPILER]
    for package in ("tachograph", "tachograph_frameworks"):
        if not any(folder.rstrip("/").endswith(f"/{package}") for folder in rules.SKIP_DIRS):
            rules.add(package)


def _seeded(call: Call) -> Watcher:
    yield
    seeds.note("torch", call.args[0] if call.args else call.kwargs["seed"])
