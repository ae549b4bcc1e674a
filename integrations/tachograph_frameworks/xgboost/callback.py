"""``TachographCallback``, for those who name it instead of calling autolog."""

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
    _round: tuple[int, Any] | None = None

    def before_training(self, model: Any) -> Any:
        """A training begins."""
        self._recording, self._round = recording.begin(model), None
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """A round begins."""
        self._round = (epoch, evals_log)
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """A round was evaluated."""
        if self._recording is not None:
            self._recording.round(model, epoch, evals_log)
        return False

    def after_training(self, model: Any) -> Any:
        """The training has ended."""
        if self._recording is not None:
            if self._round is not None:  # a callback before this one that stops the training is the last to be called
                self._recording.round(model, *self._round)
            self._recording.end(model)
        self._recording = self._round = None
        return model

    def __getstate__(self) -> dict[str, Any]:
        """A copy takes no part in the training that this one watches."""
        return {}
