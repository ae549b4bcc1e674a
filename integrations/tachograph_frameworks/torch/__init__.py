"""Plain PyTorch: loops with no line of ours in them.

``Tensor.backward``, the data loaders, the scaler of mixed precision and ``torch.save`` are listened to; steps come from
torch's own global hook on optimizers. Modules are not hooked: calling them costs what it did.

To find the way: ``loop`` listens, and finds the run that a loop belongs to. A ``Recording`` is the loops' part of one
run: it notes what is heard, and records it some twenty times a second. A ``Strand`` is one thread's part of that, where
losses wait for the step of their optimizer; a ``Slot`` is what is counted of an optimizer. ``user_variables`` finds
models and optimizers in the user's variables, ``loss_names`` the name of a loss. ``hot_path`` does what is usual at a
step, in one place and in C; all the others are for what is not.
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
    hooks.around(torch.random, "manual_seed", _note_seed)
    if (seed := torch.initial_seed()) < _SMALLEST_DEFAULT_SEED:
        seeds.by_library.setdefault("torch", seed)
    hooks.native(import_hooks.when_imported(_COMPILER_RULES, _skip_in_compiler))


_SMALLEST_DEFAULT_SEED = 1 << 32  # a seed that nobody chose has 64 bits
_COMPILER_RULES = "torch._dynamo.trace_rules"


def _skip_in_compiler() -> None:
    """Keep ``torch.compile`` from compiling what listens to the loop."""
    rules = sys.modules[_COMPILER_RULES]
    for package in ("tachograph", "tachograph_frameworks"):
        if not any(folder.rstrip("/").endswith(f"/{package}") for folder in rules.SKIP_DIRS):
            rules.add(package)


def _note_seed(call: Call) -> Watcher:
    yield
    seeds.note("torch", call.args[0] if call.args else call.kwargs["seed"])
