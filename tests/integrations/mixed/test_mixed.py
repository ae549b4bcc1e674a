"""Trainings in which frameworks meet: how many runs there are, whose child each is, and that each is complete."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import pytest
import torch
import xgboost
from lightning.fabric import Fabric
from lightning.pytorch import Trainer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.integrations.mixed.small import (
    BOOSTED,
    QUIET,
    Net,
    X,
    assert_is_loop,
    boost,
    fit_lightning,
    keras_model,
    loader,
    names,
    plain_loop,
    steps,
    y,
)
from torch import nn

import tachograph
import tachograph_frameworks.keras
import tachograph_frameworks.lightning
import tachograph_frameworks.xgboost
from tachograph_frameworks.lightning import TachographLogger


def test_keras_on_torch_is_one_run(tree, found):
    model = keras_model()
    model.fit(X, y, epochs=2, batch_size=20, verbose=0)
    model.evaluate(X, y, verbose=0)
    assert tree() == ["digits"]
    run = found("digits")
    of_epochs, once = {"loss", "accuracy", "lr"}, {"evaluate_loss", "evaluate_accuracy"}
    assert run.metrics.keys() == of_epochs | once
    assert all(steps(run, name) == [0, 1] for name in of_epochs)
    assert all(steps(run, name) == [0] for name in once)
    assert names(run) == {"summary", "model"}
    assert run.params["optimizer"] == "Adam"
    assert not [name for name in run.params if name.startswith("model.")]


def test_a_model_of_keras_in_a_plain_loop(tree, found):
    model = keras_model()
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        loss = nn.functional.nll_loss(model(torch.tensor(X)).log(), torch.tensor(y))
        adam.zero_grad()
        loss.backward()
        adam.step()
    [name] = tree()
    run = found(name)
    assert run.metrics.keys() == {"loss", "lr"}
    assert steps(run, "loss") == steps(run, "lr") == [0, 1, 2]
    assert names(run) == {"model_summary", "model"}


def test_keras_without_fit_is_a_plain_loop(tree, found):
    model = keras_model()
    losses = [model.train_on_batch(X, y)[0] for _ in range(4)]
    [name] = tree()
    assert found(name).metrics.keys() == {"loss"}
    assert steps(found(name), "loss") == list(range(len(losses)))


def test_keras_as_an_estimator_of_scikit_learn(tree, found):
    def build(X: Any, y: Any) -> Any:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    wrapped = keras.wrappers.SKLearnRegressor(build, fit_kwargs={"epochs": 2, "verbose": 0})
    wrapped.fit(X, X[:, 0])
    GridSearchCV(wrapped, {"fit_kwargs": [{"epochs": 1, "verbose": 0}]}, cv=2).fit(X, X[:, 0])
    assert tree() == ["SKLearnRegressor", ("GridSearchCV", ["candidate-0"])]
    assert "train_r2" in found("SKLearnRegressor").metrics
    assert steps(found("SKLearnRegressor"), "loss") == [0, 1]
    assert "loss" not in found("GridSearchCV").metrics


def test_callbacks_that_are_named_besides(tree, found):
    keras_model().fit(X, y, epochs=2, verbose=0, callbacks=[tachograph_frameworks.keras.TachographCallback()])
    callback = tachograph_frameworks.xgboost.TachographCallback()
    xgboost.XGBClassifier(**BOOSTED, callbacks=[callback]).fit(X, y, eval_set=[(X, y)], verbose=False)
    callbacks = [tachograph_frameworks.lightning.TachographCallback()]
    Trainer(max_epochs=1, log_every_n_steps=1, accelerator="cpu", callbacks=callbacks, **QUIET).fit(Net(), loader())
    assert tree() == ["digits", "XGBClassifier", "Net"]
    assert steps(found("digits"), "loss") == [0, 1]
    assert steps(found("XGBClassifier"), "validation_0-logloss") == [0, 1, 2]
    assert steps(found("Net"), "train_loss") == [0, 1, 2]


def test_xgboost_in_a_pipeline_in_a_search(tree, found):
    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(**BOOSTED))
    GridSearchCV(model, {"xgbclassifier__max_depth": [1, 2, 3]}, cv=2).fit(X, y)
    assert tree() == [("GridSearchCV", ["candidate-0", "candidate-1", "candidate-2"])]
    run = found("GridSearchCV")
    assert {"best_score", "train_accuracy", "fit_seconds"} <= run.metrics.keys()
    assert not [name for name in run.metrics if "logloss" in name]
    assert names(run) == {"cv_results", "model"}
    assert [child.params for child in run.children] == [{"xgbclassifier__max_depth": depth} for depth in (1, 2, 3)]
    assert all(steps(child, "test_score") == [0, 1] for child in run.children)


def test_lightning_in_parallel_threads(tree, root):
    rates = [0.1, 0.01, 0.001]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(fit_lightning, rates))
    assert tree() == ["Net"] * 3
    runs = tachograph.open_store(root).runs()
    assert sorted(run.params["lr"] for run in runs) == sorted(rates)
    for run in runs:
        assert steps(run, "train_loss") == steps(run, "lr-SGD") == list(range(6))
        assert set(run.history("lr-SGD").values) == {run.params["lr"]}
        assert names(run) == {"summary", "model"}


def test_scikit_learn_inside_a_plain_loop(tree, found):
    plain_loop(lambda: LogisticRegression().fit(X, y).score(X, y))
    [(name, children)] = tree()
    assert children == ["LogisticRegression"] * 2
    loop = found(name)
    assert_is_loop(loop)
    assert "fit_seconds" not in loop.metrics
    for child in loop.children:
        assert {"train_accuracy", "score_X"} <= child.metrics.keys()
        assert names(child) == {"model"}


def test_scikit_learn_before_a_plain_loop(tree, found):
    LogisticRegression().fit(X, y)
    plain_loop()
    first, loop = tree()
    assert first == "LogisticRegression"
    assert_is_loop(found(loop))


def test_a_plain_loop_and_xgboost_in_the_users_run(tree, found):
    with tachograph.start_run("mine") as mine:
        plain_loop()
        boost()
        assert not mine.ended
    assert tree() == ["mine"]
    run = found("mine")
    assert_is_loop(run)
    assert steps(run, "train-logloss") == [0, 1, 2]
    assert {"model_summary", "feature_importance", "config"} <= names(run)
    assert {data.name for data in run.datasets} == {"train"}


def test_a_fit_inside_of_a_fit_is_a_part_of_it(tree, found):
    fit_lightning(inner=lambda: (LogisticRegression().fit(X, y), boost(), plain_loop()))
    assert tree() == ["Net"]
    run = found("Net")
    assert steps(run, "train_loss") == list(range(6))
    assert not {"loss", "lr", "fit_seconds"} & run.metrics.keys()


def test_a_callback_of_keras_that_fits_something_else(tree, found):
    fit = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: LogisticRegression().fit(X, y))
    keras_model().fit(X, y, epochs=2, verbose=0, callbacks=[fit])
    assert tree() == ["digits"]
    assert "fit_seconds" not in found("digits").metrics


def test_keras_and_lightning_inside_a_plain_loop(tree, found):
    plain_loop(lambda: (keras_model().fit(X, y, epochs=2, verbose=0), fit_lightning()))
    [(name, children)] = tree()
    assert children == ["digits", "Net"] * 2
    loop = found(name)
    assert_is_loop(loop)
    for child in loop.children:
        assert steps(child, "loss" if child.name == "digits" else "train_loss") == list(
            range(2 if child.name == "digits" else 6)
        )
        assert names(child) == {"summary", "model"}


def test_five_frameworks_one_after_the_other(tree, found):
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, y)
    xgboost.XGBClassifier(**BOOSTED).fit(X, y, eval_set=[(X, y)], verbose=False)
    keras_model().fit(X, y, epochs=2, verbose=0)
    fit_lightning()
    plain_loop()
    *others, loop = tree()
    assert others == [("GridSearchCV", ["candidate-0", "candidate-1"]), "XGBClassifier", "digits", "Net"]
    assert {"best_score"} <= found("GridSearchCV").metrics.keys()
    assert steps(found("XGBClassifier"), "validation_0-logloss") == [0, 1, 2]
    assert steps(found("digits"), "loss") == [0, 1]
    assert steps(found("Net"), "train_loss") == list(range(6))
    assert_is_loop(found(loop))
    assert all("model" in names(found(name)) for name in ("GridSearchCV", "XGBClassifier", "digits", "Net", loop))


def test_frameworks_after_a_plain_loop_are_its_children(tree, found):
    plain_loop()
    xgboost.XGBClassifier(**BOOSTED).fit(X, y)
    keras_model().fit(X, y, epochs=2, verbose=0)
    fit_lightning()
    [(name, children)] = tree()
    assert children == ["XGBClassifier", "digits", "Net"]
    assert_is_loop(found(name))


def test_two_threads_with_a_framework_each(tree, found):
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(boost), pool.submit(fit_lightning)]:
            done.result()
    assert sorted(tree()) == ["Net", "xgboost"]
    assert steps(found("xgboost"), "train-logloss") == [0, 1, 2]
    assert steps(found("Net"), "train_loss") == list(range(6))


def test_a_loop_with_fabric_and_its_logger(tree, found):
    fabric = Fabric(loggers=TachographLogger(), accelerator="cpu")
    net = nn.Linear(3, 1)
    net, sgd = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    for step in range(3):
        loss = net(torch.tensor(X)).square().mean()
        sgd.zero_grad()
        fabric.backward(loss)
        sgd.step()
        fabric.log("shown", loss, step)
    [name] = tree()
    assert steps(found(name), "loss") == steps(found(name), "shown") == [0, 1, 2]


SCRIPT = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    loss = net(torch.ones(5, 3)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(float(loss))
"""


def test_exec_of_an_unchanged_script(tmp_path, root):
    (tmp_path / "train.py").write_text(SCRIPT)
    plain = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not root.exists()
    command = [sys.executable, "-m", "tachograph", "exec", "--name", "mine", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)
    [run] = tachograph.open_store(root).runs()
    assert (run.name, run.status) == ("mine", "finished")
    assert steps(run, "loss") == steps(run, "lr") == [0, 1, 2, 3]
    assert run.metrics["loss"] == pytest.approx(float(plain.stdout))
    assert {"model", "model_summary"} <= names(run)
