"""How the user's callbacks may be given, what becomes of them, and what Keras's own have done."""

from __future__ import annotations

from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras.callbacks import (
    BackupAndRestore,
    Callback,
    CallbackList,
    EarlyStopping,
    History,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)

import tachograph
from tachograph.testing.own_store import own_store
from tachograph_frameworks.keras import TachographCallback


class Count(Callback):
    """Counts epochs, and sees who else is called."""

    def __init__(self):
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1


@pytest.mark.parametrize("shape", ["none", "single", "list", "tuple", "empty"])
@pytest.mark.parametrize("by_position", [True, False])
def test_any_shape_of_the_argument(store, model, data, shape, by_position):
    mine = Count()
    given = {"none": None, "single": mine, "list": [mine], "tuple": (mine,), "empty": []}[shape]
    before = list(given) if isinstance(given, list) else None
    if by_position:
        history = model.fit(*data, 32, 3, 0, given)
    else:
        history = model.fit(*data, batch_size=32, epochs=3, verbose=0, callbacks=given)
    assert store.run("latest").history("loss").values.tolist() == history.history["loss"]
    assert store.run("latest").status == "finished"
    assert mine.epochs == (0 if shape in ("none", "empty") else 3)
    if before is not None:
        assert given == before


def test_a_list_of_keras_s_own_is_left_as_it_was(store, model, data):
    mine = Count()
    given = CallbackList([mine], add_history=True, model=model)
    inside, before = given.callbacks, list(given.callbacks)
    for epochs in (2, 3):
        assert isinstance(model.fit(*data, epochs=epochs, verbose=0, callbacks=given), History)
        assert given.callbacks is inside
        assert inside == before
    assert [run.summary("loss").count for run in store.runs(order_by="started")] == [2, 3]
    assert mine.epochs == 5


def test_what_a_callback_adds_is_recorded(store, model, data):
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["f1"] = epoch / 2
            logs["confusion"] = np.eye(2)

    model.fit(*data, epochs=2, verbose=0, callbacks=[Adds()])
    run = store.run("latest")
    assert run.history("f1").values.tolist() == [0.0, 0.5]
    assert "confusion" not in run.metrics
    assert [note.text for note in run.notes if "confusion" in note.text]


def test_what_a_callback_changes_is_recorded(store, model, data):
    class Rounds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["loss"] = epoch

    model.fit(*data, epochs=2, verbose=0, callbacks=[Rounds()])
    run = store.run("latest")
    assert run.metrics["loss"] == 1
    assert run.history("accuracy").steps.tolist() == [0, 1]


class Raises(Callback):
    """Raises in the second epoch, where it is asked to."""

    def __init__(self, error, where):
        super().__init__()
        self.error, self.where, self.seen = error, where, []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.where == "batch" and self.epoch == 1:
            raise self.error

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(dict(logs))
        if self.where == "epoch" and epoch == 1:
            raise self.error


class Adds(Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["added"] = epoch * 2.0


@pytest.mark.parametrize("error", [ValueError("no more"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("where", ["epoch", "batch"])
@pytest.mark.parametrize("way", ["autolog", "named", "named last", "both"])
def test_an_epoch_that_keras_has_finished_is_recorded_whoever_raises(model, data, error, where, way):
    raises = Raises(error, where)
    given = {
        "autolog": [Adds(), raises],
        "named": [TachographCallback(), Adds(), raises],
        "named last": [Adds(), raises, TachographCallback()],
        "both": [Adds(), raises, TachographCallback()],
    }[way]
    before = list(given)
    with own_store() as root, nullcontext() if way.startswith("named") else tachograph.autolog("keras", system=False):
        with pytest.raises(type(error)) as raised:
            model.fit(*data, epochs=4, validation_split=0.25, verbose=0, callbacks=given)
        assert raised.value is error
        assert given == before
        run = tachograph.open_store(root).run("latest")
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert run.history(name).values.tolist() == [logs[name] for logs in raises.seen], name
        assert run.history("lr").values.tolist() == pytest.approx([0.01] * len(raises.seen))
        if way != "named":  # which comes before the one that adds it
            assert run.history("added").values.tolist() == [0.0]


def test_a_list_of_keras_s_own_is_left_as_it_was_by_a_named_callback(model, data):
    raises = Raises(ValueError("no more"), "epoch")
    callback = TachographCallback()
    given = CallbackList([raises, callback], add_history=True, model=model)
    before = list(given.callbacks)
    with own_store() as root:
        for _ in range(2):
            with pytest.raises(ValueError, match="no more"):
                model.fit(*data, epochs=3, verbose=0, callbacks=given)
        raises.where = None
        model.fit(*data, epochs=3, verbose=0, callbacks=given)
        store = tachograph.open_store(root)
        assert [run.summary("loss").count for run in store.runs(order_by="started")] == [2, 2, 3]
    assert given.callbacks == before


def test_a_scheduler_of_the_learning_rate(store, model, data):
    def halved(epoch, rate):
        return rate / 2

    model.fit(*data, epochs=3, verbose=0, callbacks=[LearningRateScheduler(halved)])
    run = store.run("latest")
    assert run.history("lr").values.tolist() == pytest.approx([0.005, 0.0025, 0.00125])
    assert run.history("learning_rate").values.tolist() == pytest.approx([0.005, 0.0025, 0.00125])
    assert run.params["learning_rate_scheduler.schedule"] == "halved"


def test_the_rate_is_the_one_in_force_not_the_next(store, model, data):
    class After(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.01 / (epoch + 2)

    reduce = ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=100.0)
    model.fit(*data, epochs=4, verbose=0, callbacks=[reduce])
    run = store.run("latest")
    assert run.history("lr").values.tolist() == pytest.approx([0.01, 0.01, 0.001, 0.0001])
    assert run.params["reduce_lr_on_plateau.factor"] == 0.1
    model.optimizer.learning_rate = 0.01
    model.fit(*data, epochs=3, verbose=0, callbacks=[After()])
    assert store.run("latest").history("lr").values.tolist() == pytest.approx([0.01, 0.005, 0.01 / 3])


def test_early_stopping(store, model, data):
    stop = EarlyStopping("loss", patience=2, min_delta=100.0, restore_best_weights=True)
    model.fit(*data, epochs=9, verbose=0, callbacks=[stop])
    run = store.run("latest")
    assert run.metrics["stopped_epoch"] == stop.stopped_epoch == 2
    assert run.metrics["best_epoch"] == 0
    assert run.metrics["best_value"] == run.history("loss").values[0]
    assert run.params["early_stopping.restored_weights"] is True
    assert run.params["early_stopping.patience"] == 2
    assert run.params["early_stopping.monitor"] == "loss"
    kept = run.artifact("model").path()
    again = keras.saving.load_model(kept)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), stop.best_weights, strict=True))


def test_early_stopping_that_did_not_stop(store, model, data):
    model.fit(*data, epochs=2, verbose=0, callbacks=[EarlyStopping("loss", patience=5)])
    run = store.run("latest")
    assert "stopped_epoch" not in run.metrics
    assert run.metrics["best_epoch"] == 1
    assert run.params["early_stopping.restored_weights"] is False


def test_the_best_checkpoint(store, model, data, tmp_path):
    path = tmp_path / "deep" / "best.keras"
    model.fit(*data, epochs=3, verbose=0, callbacks=[ModelCheckpoint(path, "loss", save_best_only=True)])
    run = store.run("latest")
    kept = run.artifact("checkpoint")
    assert (kept.kind, kept.step, kept.filename) == ("checkpoint", 2, "best.keras")
    assert kept.path().read_bytes() == path.read_bytes()
    assert kept.meta["monitor"] == "loss"
    assert kept.meta["value"] == pytest.approx(run.metrics["loss"])
    assert run.artifact("best").digest == kept.digest
    assert run.params["model_checkpoint.save_best_only"] is True


def test_checkpoints_of_weights_under_changing_names(store, model, data, tmp_path):
    template = str(tmp_path / "{epoch:02d}.weights.h5")
    model.fit(*data, epochs=2, verbose=0, callbacks=[ModelCheckpoint(template, save_weights_only=True)])
    kept = store.run("latest").artifact("checkpoint")
    assert (kept.filename, kept.step, kept.meta["holds"]) == ("02.weights.h5", 1, "weights")


def test_checkpoints_between_epochs(store, model, data, tmp_path):
    callback = ModelCheckpoint(tmp_path / "{batch}.keras", "loss", save_freq=2)
    model.fit(*data, batch_size=16, epochs=1, verbose=0, callbacks=[callback])  # six steps
    kept = store.run("latest").artifact("checkpoint")
    assert (kept.step, kept.path().read_bytes()) == (0, (tmp_path / kept.filename).read_bytes())


def test_going_on_from_a_backup(store, build, data, tmp_path):
    if not hasattr(build(), "_initial_epoch"):
        pytest.skip("the oldest versions load the weights and begin with the first epoch all the same")

    class Fail(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        build().fit(*data, epochs=4, verbose=0, callbacks=[BackupAndRestore(tmp_path / "backup"), Fail()])
    build().fit(*data, epochs=4, verbose=0, callbacks=[BackupAndRestore(tmp_path / "backup")])
    first, second = store.runs(order_by="started")
    assert (first.status, second.status) == ("failed", "finished")
    assert "resumed_epoch" not in first.params
    assert second.params["resumed_epoch"] == 2
    assert second.history("loss").steps.tolist() == [2, 3]
    assert not [name for name in (artifact.name for artifact in second.artifacts) if name == "checkpoint"]
