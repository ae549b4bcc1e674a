"""Which call has which run, how runs end, and that the user's objects stay as they were."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading
from importlib import import_module

import pytest
import torch
from tests.integrations.lightning.conftest import data, logged, points
from torch.utils.data import DataLoader

import tachograph


def test_a_second_fit_is_a_second_run(autolog, store, trainer, net, train):
    at_work, module = trainer(), net()
    at_work.fit(module, train)
    at_work.fit_loop.max_epochs = 4
    at_work.fit(module, train)
    first, second = store().runs(order_by="started")
    assert [step for step, _ in points(first)["loss_step"]] == [1, 3, 5, 7]
    assert [step for step, _ in points(second)["loss_step"]] == [9, 11, 13, 15]
    assert {first.status, second.status} == {"finished"}


def test_evaluations_go_to_the_run_of_their_fit(autolog, only, trainer, net, train, val, spy):
    at_work, module = trainer(logger=spy), net()
    at_work.fit(module, train)
    at_work.validate(module, val)
    at_work.test(module, val)
    assert len(at_work.predict(module, val)) == 2
    run = only()
    assert "test_loss" in spy.points
    assert logged(run) == spy.points
    assert run.status == "finished"
    assert [dataset.name for dataset in run.datasets] == ["train", "val", "test", "predict"][:3]
    assert tachograph.active_run() is None


def test_in_a_run_of_the_users_own(autolog, only, trainer, net, train, val):
    at_work, module = trainer(), net()
    with tachograph.start_run("mine") as own:
        at_work.fit(module, train)
        at_work.test(module, val)
        assert not own.ended
    at_work.validate(module, val)
    run = only()
    assert (run.name, run.status) == ("mine", "finished")
    assert {"loss_step", "test_loss", "val_loss_epoch"} <= set(run.metrics)


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_an_evaluation_alone(autolog, only, trainer, net, val, spy, stage):
    getattr(trainer(logger=spy), stage)(net(), val)
    run = only()
    assert logged(run) == spy.points
    assert (run.name, run.status) == ("Net", "finished")
    assert (run.params["lr"], run.params["trainer.precision"]) == (0.1, "32-true")
    assert [artifact.name for artifact in run.artifacts] == ["summary"]


def test_a_prediction_alone_is_no_run(autolog, store, trainer, net, val):
    trainer().predict(net(), val)
    assert store().runs() == []


def test_an_evaluation_of_another_module(autolog, store, trainer, net, train, val):
    at_work = trainer()
    at_work.fit(net(), train)
    at_work.test(net(), val)
    assert ["test_loss" in run.metrics for run in store().runs(order_by="started")] == [False, True]


def test_the_best_checkpoint_is_tested(autolog, only, pl, trainer, net, train, val, tmp_path):
    saving = pl.callbacks.ModelCheckpoint(str(tmp_path), monitor="val_loss_epoch")
    at_work = trainer(enable_checkpointing=True, callbacks=[saving])
    at_work.fit(net(), train, val)
    at_work.test(dataloaders=val, ckpt_path="best")
    run = only()
    [link] = run.links
    assert (link.relation, link.target) == ("loaded from", run.artifact("best").digest)


# ---- endings ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(net, net_class):
    """A module that raises in its sixth step."""

    def make(error):
        class Failing(net_class):
            def training_step(self, batch, index):
                if self.trainer.global_step == 5:
                    raise error
                return super().training_step(batch, index)

        return net(Failing)

    return make


def test_an_exception_is_the_users_own(autolog, only, trainer, failing, train, val):
    error = ValueError("mine")
    at_work, module = trainer(), failing(error)
    with pytest.raises(ValueError) as raised:
        at_work.fit(module, train)
    assert raised.value is error
    run = only()
    assert (run.status, run.error.type, run.error.message) == ("failed", "ValueError", "mine")
    assert [step for step, _ in points(run)["loss_step"]] == [1, 3]
    assert tachograph.active_run() is None
    at_work.test(module, val)
    assert only().status == "failed"
    assert "test_loss" in only().metrics


def test_an_exception_before_the_first_step(autolog, only, trainer, net, net_class, train):
    class Failing(net_class):
        def setup(self, stage):
            raise ValueError("not set up")

    with pytest.raises(ValueError, match="not set up"):
        trainer().fit(net(Failing), train)
    assert only().status == "failed"
    assert only().params["lr"] == 0.1
    assert only().params["trainer.max_epochs"] == 2


def test_an_exception_in_a_test(autolog, only, trainer, net, net_class, train, val):
    class Failing(net_class):
        def test_step(self, batch, index):
            raise ValueError("not tested")

    at_work, module = trainer(), net(Failing)
    at_work.fit(module, train)
    with pytest.raises(ValueError, match="not tested"):
        at_work.test(module, val)
    assert (only().status, only().error.message) == ("failed", "not tested")


def test_ctrl_c(autolog, only, trainer, failing, train):
    with contextlib.suppress(SystemExit):  # Lightning makes that of it, or in older versions nothing at all
        trainer().fit(failing(KeyboardInterrupt()), train)
    assert only().status == "interrupted"
    assert [artifact.name for artifact in only().artifacts] == ["summary"]


@pytest.mark.slow
def test_ctrl_c_in_a_program(script, only):
    done = script(
        """
        import os, signal, sys, warnings
        warnings.filterwarnings("ignore")
        import tachograph
        tachograph.autolog("lightning", system=False)
        import lightning, torch
        from lightning.pytorch.demos.boring_classes import BoringModel

        class Net(BoringModel):
            def on_train_batch_start(self, batch, index):
                if index == 3:
                    os.kill(os.getpid(), signal.SIGINT)

        lightning.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu",
                          enable_progress_bar=False, enable_model_summary=False).fit(Net())
        """
    )
    assert "SIGINT" not in done.stdout
    assert only().status == "interrupted"


# ---- calls inside of calls -------------------------------------------------------------------------------------------


def test_the_tuner_is_no_training(autolog, only, pl, trainer, net, train):
    tuner = import_module(f"{pl.__name__}.tuner")
    at_work, module = trainer(max_epochs=1), net()
    tuner.Tuner(at_work).lr_find(module, train, num_training=5)
    at_work.fit(module, train)
    run = only()
    assert run.params["lr"] == module.hparams.lr
    assert [step for step, _ in points(run)["loss_step"]] == [1, 3]


@pytest.mark.slow
def test_a_search_for_the_batch_size_is_no_training(autolog, store, pl, trainer, net):
    class Data(pl.LightningDataModule):
        batch_size = 2

        def train_dataloader(self):
            return DataLoader(data(), batch_size=self.batch_size)

        val_dataloader = train_dataloader

    tuner = import_module(f"{pl.__name__}.tuner")
    tuner.Tuner(trainer()).scale_batch_size(net(), datamodule=Data(), max_trials=2)
    assert store().runs() == []


def test_a_search_inside_of_a_training(autolog, store, pl, trainer, net, train):
    finder = pl.callbacks.LearningRateFinder(num_training_steps=5)
    trainer(callbacks=[finder]).fit(net(), train)
    trainer().fit(net(lr=float(finder.optimal_lr.suggestion() or 0.1)), train)
    first, second = [logged(run) for run in store().runs(order_by="started")]
    assert {name: [step for step, _ in made] for name, made in first.items()} == {
        name: [step for step, _ in made] for name, made in second.items()
    }


def test_a_training_inside_of_a_training(autolog, only, pl, trainer, net, train, spy):
    class Inner(pl.Callback):
        def on_train_epoch_end(self, outer, module):
            trainer(max_epochs=1).fit(net(), train)

    trainer(callbacks=[Inner()], logger=spy).fit(net(), train)
    assert logged(only()) == spy.points


def test_trainings_in_threads(autolog, store, trainer, net):
    def search(lr):
        trainer(log_every_n_steps=1).fit(net(lr=lr), DataLoader(data(), batch_size=8))

    threads = [threading.Thread(target=search, args=(lr,)) for lr in (0.1, 0.2, 0.3, 0.4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = store().runs()
    assert sorted(run.params["lr"] for run in runs) == [0.1, 0.2, 0.3, 0.4]
    for run in runs:
        assert run.status == "finished"
        assert [step for step, _ in points(run)["loss_step"]] == list(range(8))
        assert run.metrics["lr-SGD"] == run.params["lr"]
        assert run.artifact("model")


def test_plain_torch_is_quiet_inside(store, only, trainer, net, train):
    with tachograph.autolog("lightning", "torch", system=False):
        trainer().fit(net(), train)
    assert set(only().metrics) == {"loss_step", "loss_epoch", "plain", "epoch", "lr-SGD"}


def test_suppressed(autolog, store, trainer, net, train):
    with tachograph.suppress():
        trainer().fit(net(), train)
    assert store().runs() == []


# ---- the user's objects ----------------------------------------------------------------------------------------------


def trained(pl, trainer, net, train):
    pl.seed_everything(7)
    module = net()
    at_work = trainer()
    at_work.fit(module, DataLoader(train.dataset, batch_size=8, shuffle=True), DataLoader(data(8)))
    return module.state_dict(), torch.rand(3), at_work


def test_weights_and_random_state_are_the_same_to_the_bit(pl, trainer, net, train):
    plain, then, _ = trained(pl, trainer, net, train)
    with tachograph.autolog("lightning", "torch", system=False):
        recorded, after, _ = trained(pl, trainer, net, train)
    assert all(torch.equal(plain[name], recorded[name]) for name in plain)
    assert torch.equal(then, after)


def test_the_trainer_stays_as_it_was(pl, trainer, net, train):
    _, _, plain = trained(pl, trainer, net, train)
    with tachograph.autolog("lightning", system=False):
        _, _, recorded = trained(pl, trainer, net, train)
        for own in ("callbacks", "loggers"):
            assert [type(each) for each in getattr(recorded, own)] == [type(each) for each in getattr(plain, own)]
        assert vars(recorded).keys() == vars(plain).keys()
        assert vars(recorded._logger_connector).keys() == vars(plain._logger_connector).keys()
        assert set(recorded.callback_metrics) == set(plain.callback_metrics)
        copy.deepcopy(recorded)
        assert _pickles(trainer()) == _pickles(trainer())


def test_a_list_of_callbacks_is_not_changed(autolog, pl, trainer, net, train):
    mine = [pl.callbacks.Timer()]
    at_work = trainer(callbacks=mine)
    before = list(at_work.callbacks)
    at_work.fit(net(), train)
    assert len(mine) == len(before)
    assert all(now is then for now, then in zip(at_work.callbacks, before, strict=True))


def _pickles(trainer):
    return type(pickle.loads(pickle.dumps(trainer))).__name__


def test_nothing_is_left_in_lightning(pl, trainer, net, train):
    connector = import_module(f"{pl.__name__}.trainer.connectors.logger_connector.logger_connector")._LoggerConnector
    before = dict(vars(connector)), dict(vars(pl.Trainer))
    handle = tachograph.autolog("lightning", system=False)
    trainer().fit(net(), train)
    assert dict(vars(connector)) == before[0]
    handle.undo()
    assert dict(vars(pl.Trainer)) == before[1]
