"""Lightning, in both of its packages: ``lightning`` and ``pytorch_lightning``, and Fabric's loggers.

The trainer's entry points (``fit``, ``validate`` ...) give each training its run. What happens inside of one is heard
where Lightning itself collects it: metrics where it hands them to its loggers, however many loggers there are, learning
rates where its own monitor would read them, checkpoints where they are saved. The user's callbacks and loggers stay as
they are.
"""

from __future__ import annotations

from tachograph.hooks import Hooks
from tachograph.runtime.background import background
from tachograph_frameworks.lightning import packages
from tachograph_frameworks.lightning.callback import TachographCallback
from tachograph_frameworks.lightning.calls import WRAPPERS
from tachograph_frameworks.lightning.logger import TachographLogger

__all__ = ["REQUIRES", "TESTED", "TachographCallback", "TachographLogger", "install"]

REQUIRES = ("lightning>=2.0.9", "pytorch-lightning>=2.0.9")
TESTED = "2.6.6"


def install(hooks: Hooks) -> None:
    """Listen to trainings with the package that the hooks are named after."""
    trainer = packages.Package(hooks.plugin).trainer
    for name, wrapper in WRAPPERS.items():
        hooks.around(trainer, name, wrapper)
    background.import_soon("tachograph_frameworks.lightning.data", "tachograph_frameworks.lightning.metrics")
