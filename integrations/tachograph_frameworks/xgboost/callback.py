"""The callback, for those who prefer to name it."""

from __future__ import annotations

from typing import Any

from xgboost.callback import TrainingCallback

from tachograph_frameworks.xgboost import recording
from tachograph_frameworks.xgboost.recording import Recording


class TachographCallback(TrainingCallback):  # type: ignore[misc]
    """Records a training: ``callbacks=[TachographCallback()]`` of ``train``, ``cv`` and the scikit-learn API.

    With no run open it opens one and ends it with the training. Where autolog records the training it stands aside.
    An ``EarlyStopping(save_best=True)`` belongs before it: what it is handed last is the model that is kept.
    """

    _recording: Recording | None = None

    def before_training(self, model: Any) -> Any:
        """A training begins."""
        self._recording = recording.begin(model)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """A round was evaluated."""
        if self._recording is not None:
            self._recording.round(model, epoch, evals_log)
        return False

    def after_training(self, model: Any) -> Any:
        """The training has ended."""
        if self._recording is not None:
            self._recording.end(model)
            self._recording = None
        return model

    def __getstate__(self) -> dict[str, Any]:
        """A copy takes no part in the training that this one watches."""
        return {}
