"""``TachographCallback`` and ``TachographLogger`` named by the user: alone, together, with autolog, with Fabric."""

from __future__ import annotations

import contextlib
import copy
import pickle
from importlib import import_module
from pathlib import Path

import pytest
import torch
from tests.integrations.lightning.conftest import logged, points

import tachograph
from tachograph import journal
from tachograph.events import Artifact
from tachograph_frameworks.lightning import TachographCallback, TachographLogger


def test_they_are_of_lightnings_own_kinds(pl):
    assert isinstance(TachographCallback(), pl.Callback)
    assert isinstance(TachographLogger(), pl.loggers.Logger)


@pytest.mark.parametrize("mine", [TachographCallback, TachographLogger])
def test_they_can_be_copied_and_sent(mine):
    for twin in (copy.deepcopy(mine()), pickle.loads(pickle.dumps(mine())), copy.copy(mine())):
        assert type(twin) is mine


def test_the_callback_alone(only, trainer, net, train, val, spy):
    callback = TachographCallback()
    at_work, module = trainer(logger=spy, callbacks=callback), net()
    at_work.fit(module, train, val)
    assert only().status == "finished"
    at_work.test(module, val)
    at_work.predict(module, val)
    run = only()
    assert logged(run) == spy.points
    assert (run.name, run.status, run.params["lr"]) == ("Net", "finished", 0.1)
    assert run.artifact("model").load().keys() == module.state_dict().keys()
    assert run.metrics["lr-SGD"] == 0.1
    assert tachograph.active_run() is None
    pickle.dumps(callback)


def test_the_callback_without_a_logger_and_again(store, trainer, net, train, spy):
    callback = TachographCallback()
    trainer(logger=spy).fit(net(), train)
    for _ in range(2):
        trainer(callbacks=[callback]).fit(net(), train)
    assert [logged(run) for run in store().runs()] == [spy.points] * 2


@pytest.mark.parametrize(("error", "status"), [(ValueError("mine"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_the_callback_in_a_training_that_is_stopped(only, trainer, net, net_class, train, error, status):
    class Failing(net_class):
        def on_train_batch_start(self, batch, index):
            raise error

    with contextlib.suppress(ValueError, KeyboardInterrupt, SystemExit):
        trainer(callbacks=[TachographCallback()]).fit(net(Failing), train)
    assert only().status == status


def test_the_callback_in_the_users_run(only, trainer, net, train):
    with tachograph.start_run("mine") as own:
        trainer(callbacks=[TachographCallback()]).fit(net(), train)
        assert not own.ended
    assert only().name == "mine"
    assert only().summary("loss_step").count == 4


def test_the_callback_where_autolog_is_suppressed(autolog, only, trainer, net, train):
    with tachograph.suppress():
        trainer(callbacks=[TachographCallback()]).fit(net(), train)
    assert only().summary("loss_step").count == 4


def test_the_callback_and_the_tuner(only, pl, trainer, net, train):
    tuner = import_module(f"{pl.__name__}.tuner")
    at_work, module = trainer(callbacks=[TachographCallback()]), net()
    tuner.Tuner(at_work).lr_find(module, train, num_training=5)
    at_work.fit(module, train)
    assert only().summary("loss_step").count == 4


def test_the_logger_alone(only, trainer, net, train, val, spy, tmp_path):
    logger = TachographLogger("named", save_dir=str(tmp_path))
    at_work, module = trainer(logger=[logger, spy]), net(lr=0.05)
    at_work.fit(module, train, val)
    assert only().status == "finished"
    at_work.test(module, val)
    logger.log_metrics({"late": 1.0}, step=7)
    run = only()
    assert points(run) == spy.points | {"late": [(7, 1.0)]}
    assert (run.name, run.status, run.params["lr"]) == ("named", "finished", 0.05)
    assert (logger.name, logger.version, logger.save_dir) == (run.experiment, run.id, str(tmp_path))
    assert logger.experiment.id == run.id
    logger.log_graph(module)


def test_the_logger_in_a_training_that_fails(only, trainer, net, net_class, train):
    class Failing(net_class):
        def training_step(self, batch, index):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        trainer(logger=TachographLogger()).fit(net(Failing), train)
    assert (only().status, only().error.message) == ("failed", "mine")


def test_the_loggers_checkpoints(only, pl, trainer, net, train, val, tmp_path):
    saving = pl.callbacks.ModelCheckpoint(tmp_path, monitor="val_loss_epoch")
    trainer(logger=TachographLogger(), enable_checkpointing=True, callbacks=[saving]).fit(net(), train, val)
    assert only().artifact("best").path().read_bytes() == Path(saving.best_model_path).read_bytes()


@pytest.mark.parametrize("callbacks", [[], [TachographCallback()]])
def test_a_checkpoint_is_kept_once(only, trainer, net, train, root, callbacks):
    with tachograph.start_run("mine"):
        trainer(logger=TachographLogger(), enable_checkpointing=True, callbacks=list(callbacks)).fit(net(), train)
    [writer] = journal.writers(root / "runs" / only().id)
    kept = [
        event for event in journal.read_writer(writer) if isinstance(event, Artifact) and event.type == "checkpoint"
    ]
    assert [event.name for event in kept] == ["checkpoint"] * 2


def test_where_checkpoints_go_beside_the_logger(only, trainer, net, train, folder):
    at_work = trainer(logger=TachographLogger(), enable_checkpointing=True)
    at_work.fit(net(), train)
    run = only()
    assert at_work.checkpoint_callback.best_model_path.startswith(str(folder / run.experiment / run.id))


@pytest.mark.parametrize(
    ("count", "callback", "on"),
    [(1, True, True), (1, True, False), (1, False, True), (1, False, False), (2, True, True), (2, False, True)],
)
def test_all_together_record_no_point_twice(store, pl, trainer, net, train, val, spy, count, callback, on):
    handle = tachograph.autolog("lightning", system=False) if on else None
    loggers = [spy, *(TachographLogger() for _ in range(count))]
    at_work = trainer(logger=loggers, callbacks=[TachographCallback()] * callback, enable_checkpointing=True)
    module = net()
    at_work.fit(module, train, val)
    at_work.test(module, val)
    if handle is not None:
        handle.undo()
    runs = store().runs()
    assert [logged(run) for run in runs] == [spy.points]
    assert {run.status for run in runs} == {"finished"}
    assert loggers[1].experiment.id in [run.id for run in runs]


def test_a_second_fit_with_all_of_them(autolog, store, trainer, net, train):
    logger = TachographLogger()
    at_work, module = trainer(logger=logger, callbacks=[TachographCallback()]), net()
    for epochs in (2, 4):
        at_work.fit_loop.max_epochs = epochs
        at_work.fit(module, train)
    assert [run.summary("loss_step").count for run in store().runs()] == [4, 4]
    assert logger.version == store().run("latest").id


def test_a_second_fit_with_callback_and_logger(store, trainer, net, train):
    at_work, module = trainer(logger=TachographLogger(), callbacks=[TachographCallback()]), net()
    for epochs in (2, 4):
        at_work.fit_loop.max_epochs = epochs
        at_work.fit(module, train)
    assert [run.summary("loss_step").count for run in store().runs()] == [4, 4]


def test_what_is_logged_to_the_logger_itself(autolog, only, trainer, net, net_class, train):
    class Own(net_class):
        def on_train_epoch_end(self):
            self.logger.log_metrics({"own": 2.0}, step=self.current_epoch)
            self.logger.experiment.log_note("an epoch")

    trainer(logger=TachographLogger()).fit(net(Own), train)
    assert points(only())["own"] == [(0, 2.0), (1, 2.0)]
    assert [note.text for note in only().notes] == ["an epoch"] * 2


@pytest.mark.parametrize("package", ["lightning.fabric", "lightning_fabric"])
def test_fabric(only, package):
    fabric = import_module(package).Fabric(accelerator="cpu", devices=1, loggers=TachographLogger("woven"))
    fabric.logger.log_hyperparams({"lr": 0.5})
    for step in range(3):
        fabric.log("loss", torch.tensor(1.0 / (step + 1)), step=step)
    fabric.log_dict({"a": 1, "b": 2.0}, step=3)
    fabric.logger.finalize("success")
    run = only()
    assert points(run)["loss"] == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert (run.metrics["b"], run.params["lr"], run.name, run.status) == (2.0, 0.5, "woven", "finished")


def test_two_loggers_of_fabric_have_a_run_each(store):
    for lr in (0.1, 0.2):
        TachographLogger().log_hyperparams({"lr": lr})
    assert sorted(run.params["lr"] for run in store().runs()) == [0.1, 0.2]


def test_the_logger_in_the_users_run(only):
    with tachograph.start_run("mine"):
        logger = TachographLogger()
        logger.log_metrics({"loss": 1.0})
        logger.finalize("success")
        assert tachograph.active_run() is not None
    assert only().metrics == {"loss": 1.0}


def test_switched_off(root, monkeypatch, trainer, net, train):
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    trainer(callbacks=[TachographCallback()], logger=TachographLogger()).fit(net(), train)
    assert not root.exists()


@pytest.mark.slow
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_neither_package_is_imported_for_the_others_sake(script, package):
    other = {"lightning.pytorch": "pytorch_lightning", "pytorch_lightning": "lightning"}[package]
    done = script(
        f"""
        import sys, warnings
        warnings.filterwarnings("ignore")
        from tachograph_frameworks.lightning import TachographCallback, TachographLogger
        assert not {{"lightning", "pytorch_lightning"}} & set(sys.modules)
        import {package} as pl
        assert {other!r} not in sys.modules
        assert isinstance(TachographCallback(), pl.Callback) and isinstance(TachographLogger(), pl.loggers.Logger)
        assert pl.Trainer(callbacks=TachographCallback(), logger=False, accelerator="cpu").callbacks
        """
    )
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr
