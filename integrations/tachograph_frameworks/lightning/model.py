"""The model that has come out of a training."""

from __future__ import annotations

from typing import Any

from tachograph.record.run import Run
from tachograph_frameworks.torch.module_weights import save_module

_SPREAD = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")  # no process has the whole model


def keep(run: Run, trainer: Any) -> None:
    """Keep the weights of the module that ``trainer`` has trained."""
    if type(trainer.strategy).__name__ in _SPREAD:
        run.recorder.remark(
            "the model was not kept: it is spread over the processes of the job; its checkpoints are whole"
        )
        return
    meta = {"epoch": trainer.current_epoch, "global_step": trainer.global_step}
    save_module(run, trainer.lightning_module, meta=meta)
