"""Nothing that the user has is changed: weights, random state, names, other frameworks' runs."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.callbacks import CallbackList, ModelCheckpoint

import tachograph
from tachograph.testing import recorded

HERE = Path(__file__).parent


def train(model, data):
    keras.utils.set_random_seed(11)
    model.fit(*data, epochs=3, batch_size=16, validation_split=0.25, verbose=0)
    return model.get_weights()


def with_dropout():
    keras.utils.clear_session()
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.4), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def test_the_weights_are_the_same_bit_by_bit(data):
    plain = train(with_dropout(), data)
    with recorded("keras"):
        autologged = train(with_dropout(), data)
    with recorded("keras", models=False, datasets=False):
        without = train(with_dropout(), data)
    for one, other, third in zip(plain, autologged, without, strict=True):
        assert one.tobytes() == other.tobytes() == third.tobytes()


def after(data):
    """What a training leaves behind: random numbers to come, and the name that the next layer gets."""
    torch = sys.modules.get("torch")
    if torch:
        torch.manual_seed(5)  # which Keras seeds on its own back end only
    train(with_dropout(), data)
    states = [random.random(), np.random.random(), np.asarray(keras.ops.convert_to_numpy(keras.random.normal((2,))))]
    if torch:
        states.append(torch.rand(1).item())
    return [np.asarray(state).tobytes() for state in states], keras.layers.Dense(1).name, keras.Sequential().name


def test_random_state_and_names_are_left_alone(data):
    plain = after(data)
    with recorded("keras"):
        assert after(data) == plain


def test_undo_leaves_what_was_there(data):
    import tachograph_frameworks.keras as plugin

    places = [(plugin._owner(name), name) for name in ("fit", "save", "save_weights")]
    places += [(CallbackList, "on_train_begin"), (CallbackList, "on_test_end"), (ModelCheckpoint, "_save_model")]
    before = [vars(owner)[name] for owner, name in places]
    with recorded("keras"):
        assert all(vars(owner)[name] is not was for (owner, name), was in zip(places, before, strict=True))
    assert all(vars(owner)[name] is was for (owner, name), was in zip(places, before, strict=True))


def test_every_call_has_its_own_signature_and_words(store):
    import inspect

    assert list(inspect.signature(keras.Model.fit).parameters)[:4] == ["self", "x", "y", "batch_size"]
    assert keras.Model.save.__doc__.lstrip().startswith("Saves a model")


def test_the_loop_inside_is_not_a_run_of_its_own(data):
    with recorded() as store:  # all plug-ins
        with_dropout().fit(*data, epochs=2, verbose=0)
        [run] = store.runs(children=True)
        assert set(run.metrics) == {"loss", "mae", "lr"}


def test_inside_of_a_search_of_scikit_learn(build, data):
    sklearn_model = pytest.importorskip("keras.wrappers").SKLearnClassifier
    from sklearn.model_selection import GridSearchCV

    def made(X, y, rate):
        return build(optimizer=keras.optimizers.SGD(rate), loss="categorical_crossentropy")

    inner = sklearn_model(made, fit_kwargs={"verbose": 0, "epochs": 2}, model_kwargs={"rate": 0.1})
    with recorded("keras", "sklearn") as store:
        GridSearchCV(inner, {"model_kwargs": [{"rate": 0.1}, {"rate": 0.2}]}, cv=2, error_score="raise").fit(*data)
        [run] = store.runs()
        assert run.name == "GridSearchCV"
        assert "loss" not in run.metrics  # the curves of several trainings would be mixed up


def test_one_training_inside_of_an_estimator(build, data):
    sklearn_model = pytest.importorskip("keras.wrappers").SKLearnClassifier

    def made(X, y):
        return build(loss="categorical_crossentropy")

    with recorded("keras", "sklearn") as store:
        sklearn_model(made, fit_kwargs={"verbose": 0, "epochs": 3}).fit(*data)
        [run] = store.runs(children=True)
        assert run.history("loss").steps.tolist() == [0, 1, 2]
        assert run.history("lr").values.tolist() == pytest.approx([0.01] * 3)


def test_threads_have_runs_of_their_own(build, data):
    from concurrent.futures import ThreadPoolExecutor

    models = [build() for _ in range(3)]
    with recorded("keras", models=False, datasets=False) as store:
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda item: item[1].fit(*data, epochs=2 + item[0], verbose=0), enumerate(models)))
        lengths = sorted(run.summary("loss").count for run in store.runs())
        assert lengths == sorted(len(history.history["loss"]) for history in done) == [2, 3, 4]


def test_a_training_in_a_callback_is_the_outer_ones_affair(store, model, build, data):
    class Nested(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            build().fit(*data, verbose=0)
            model.evaluate(*data, verbose=0)

    model.fit(*data, epochs=2, verbose=0, callbacks=[Nested()])
    [run] = store.runs(children=True)
    assert run.history("loss").steps.tolist() == [0, 1]
    assert not [name for name in run.metrics if name.startswith("evaluate")]


EVENTS = """[run.start sequential]
[tags] model=Sequential backend={backend}
[params] batch_size callbacks epochs initial_epoch shuffle validation_freq validation_split
[params] dtype_policy early_stopping.baseline early_stopping.min_delta early_stopping.mode early_stopping.monitor \
early_stopping.patience early_stopping.restore_best_weights early_stopping.start_from_epoch jit_compile layers loss \
metrics non_trainable_params optimizer optimizer.* run_eagerly steps_per_epoch steps_per_execution \
total_params trainable_params
[artifact summary summary.txt]
[metrics 0] accuracy loss lr val_accuracy val_loss
[metrics 1] accuracy loss lr val_accuracy val_loss
[metrics 1] best_epoch best_value
[params] early_stopping.restored_weights
[artifact model model.keras]
[run.end finished]"""


def test_the_events_of_a_small_training(root, model, data):
    with tachograph.autolog("keras", system=False):
        stop = keras.callbacks.EarlyStopping(patience=3)
        model.fit(*data, epochs=2, validation_split=0.25, verbose=0, callbacks=[stop])
    [file] = root.glob("runs/*/*/*.jsonl")
    shown = [told for line in file.read_text().splitlines() if (told := _told(json.loads(line)))]
    shown.remove("[dataset train 96 rows]")  # its statistics are worked out beside the training
    assert "\n".join(shown) == EVENTS.format(backend=keras.backend.backend())


def _told(event):
    kind, values = event["kind"], event.get("values", {})
    names = " ".join(sorted({"optimizer.*" if name.startswith("optimizer.") else name for name in values}))
    return {
        "run.start": lambda: f"[run.start {event['name']}]",
        "run.end": lambda: f"[run.end {event['status']}]",
        "tags": lambda: "[tags] " + " ".join(f"{name}={value}" for name, value in values.items()),
        "params": lambda: f"[params] {names}",
        "dataset": lambda: f"[dataset {event['name']} {event['rows']} rows]",
        "artifact": lambda: f"[artifact {event['name']} {event['filename']}]",
        "metrics": lambda: f"[metrics {event['step']}] {names}",
    }.get(kind, lambda: "")()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_another_back_end(backend, script):
    pytest.importorskip(backend)
    if backend == keras.backend.backend():
        pytest.skip("all the other tests run on it")
    tests = [__file__ + "::test_the_weights_are_the_same_bit_by_bit", str(HERE / "test_fit.py")]
    tests += [str(HERE / "test_callbacks.py") + f"::test_{name}" for name in ("early_stopping", "the_best_checkpoint")]
    tests += [str(HERE / "test_models.py") + "::test_a_sequential_model_predicts_the_same"]
    done = script(
        "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))", "-q", "-p", "no:cacheprovider", *tests,
        KERAS_BACKEND=backend, TACHOGRAPH_STRICT="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
