"""Points: what Lightning hands to its loggers, at its steps and as often, whatever loggers there are."""

from __future__ import annotations

import contextlib

import pytest
import torch
from tests.integrations.lightning.conftest import data, logged, points
from torch.utils.data import DataLoader

import tachograph
from tachograph import journal
from tachograph.events import Console, Dataset, Environment, Metrics, Params, number
from tachograph_frameworks.lightning import TachographCallback


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"log_every_n_steps": 1},
        {"log_every_n_steps": 3, "max_epochs": 3},
        {"log_every_n_steps": 50},
        {"accumulate_grad_batches": 2, "log_every_n_steps": 1},
        {"val_check_interval": 2},
        {"val_check_interval": 0.5, "log_every_n_steps": 1},
        {"check_val_every_n_epoch": 2},
        {"max_steps": 5, "max_epochs": -1},
        {"num_sanity_val_steps": 0},
        {"limit_train_batches": 3, "limit_val_batches": 1},
        {"overfit_batches": 2},
    ],
    ids=str,
)
def test_points_are_those_of_a_logger(autolog, only, trainer, net, train, val, spy, settings):
    trainer(logger=spy, **settings).fit(net(), train, val)
    assert spy.points
    assert logged(only()) == spy.points


def test_points_without_a_logger_are_the_same(autolog, store, trainer, net, train, val, spy):
    trainer(logger=spy).fit(net(), train, val)
    trainer(logger=False).fit(net(), train, val)
    first, second = [points(run) for run in store().runs(order_by="started")]
    assert first == second


def test_points_with_several_loggers(autolog, only, pl, trainer, net, train, val, spy, tmp_path):
    loggers = [spy, pl.loggers.CSVLogger(tmp_path)]
    at_work = trainer(logger=loggers)
    at_work.fit(net(), train, val)
    assert logged(only()) == spy.points
    assert at_work.loggers == loggers


def test_several_validation_loaders(autolog, only, trainer, net, train, val, spy):
    trainer(logger=spy).fit(net(), train, [val, val])
    assert "val_loss_epoch/dataloader_idx_1" in spy.points
    assert logged(only()) == spy.points
    assert [dataset.name for dataset in only().datasets] == ["val_0", "val_1", "train"]


def test_a_step_of_the_users_own(autolog, only, trainer, net, net_class, train, spy):
    class Own(net_class):
        def on_train_epoch_end(self):
            self.log("step", float(self.current_epoch * 100))
            self.log("own", 1.5)

    trainer(logger=spy).fit(net(Own), train)
    assert [step for step, _ in spy.points["own"]] == [0, 100]
    assert logged(only()) == spy.points


def test_manual_optimization_of_two_networks(autolog, only, pl, trainer, spy):
    class Gan(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.generator, self.critic = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            for_generator, for_critic = self.optimizers()
            for name, optimizer, loss in [
                ("g_loss", for_generator, -self.critic(self.generator(batch[0])).mean()),
                ("d_loss", for_critic, self.critic(self.generator(batch[0]).detach()).pow(2).mean()),
            ]:
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
                self.log(name, loss)

        def configure_optimizers(self):
            return [
                torch.optim.Adam(self.generator.parameters(), lr=0.01, betas=(0.5, 0.9)),
                torch.optim.Adam(self.critic.parameters(), lr=0.02),
            ]

    trainer(logger=spy).fit(Gan(), DataLoader(data(), batch_size=8))
    run = only()
    assert logged(run) == spy.points
    assert {"g_loss", "d_loss"} <= set(spy.points)
    assert run.params["optimizer.0.betas"] == [0.5, 0.9]
    assert run.params["optimizer.1.lr"] == 0.02
    assert (run.metrics["lr-Adam"], run.metrics["lr-Adam-1"]) == (0.01, 0.02)


def test_every_n_steps_thins_steps_but_not_epochs(store, only, trainer, net, train, val, spy):
    with tachograph.autolog("lightning", system=False, every_n_steps=2):
        trainer(logger=spy, log_every_n_steps=1).fit(net(), train, val)
    found = points(only())
    assert found["loss_step"] == [point for point in spy.points["loss_step"] if point[0] % 2 == 0]
    assert found["loss_epoch"] == spy.points["loss_epoch"]
    assert found["val_loss_epoch"] == spy.points["val_loss_epoch"]
    assert [step for step, _ in found["lr-SGD"]] == [0, 2, 4, 6]


def test_a_fast_run_of_one_batch(autolog, only, trainer, net, train, val):
    trainer(fast_dev_run=True).fit(net(), train, val)
    run = only()
    assert run.summary("loss_step").count == run.summary("val_loss_epoch").count == 1
    assert run.params["trainer.fast_dev_run"] is True
    assert [artifact.name for artifact in run.artifacts] == ["summary"]


def test_the_events_of_a_small_training(autolog, only, root, trainer, net, train, val):
    trainer(max_epochs=1).fit(net(), train, val)
    [writer] = journal.writers(root / "runs" / only().id)
    found = [event for event in journal.read_writer(writer) if not isinstance(event, Console | Environment)]
    assert [shown(event) for event in found if not isinstance(event, Dataset)] == EVENTS
    # Statistics are worked out beside the training, and may come at any time of it.
    assert [shown(event) for event in found if isinstance(event, Dataset)] == ["Dataset val", "Dataset train"]


def shown(event):
    if isinstance(event, Metrics):
        return event.step, {name: round(number(value), 3) for name, value in event.values.items()}
    if isinstance(event, Params):
        return sorted({name.partition(".")[0] for name in event.values})
    return f"{type(event).__name__} {getattr(event, 'name', '')}".strip()


EVENTS = [
    "RunStart Net",
    ["model", "trainer"],
    ["hidden", "lr"],
    "Artifact summary",
    ["optimizer"],
    ["data"],
    ["data"],
    (0, {"lr-SGD": 0.1}),
    (1, {"lr-SGD": 0.1, "loss_step": 0.962, "plain": 1.923, "epoch": 0.0}),
    (3, {"lr-SGD": 0.1, "loss_step": 3.262, "plain": 6.524, "epoch": 0.0}),
    (0, {"val_loss_step": 1.15}),
    (1, {"val_loss_step": 3.587}),
    (3, {"val_loss_epoch": 2.368, "epoch": 0.0}),
    (3, {"loss_epoch": 2.404, "epoch": 0.0}),
    "Artifact model",
    "RunEnd",
]


@pytest.mark.parametrize("error", [ValueError("no more"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("where", ["on_validation_end", "on_train_epoch_end", "on_train_batch_end"])
@pytest.mark.parametrize("named", [False, True])
def test_what_was_handed_to_loggers_is_there_whoever_raises(
    only, pl, trainer, net, train, val, spy, where, error, named
):
    class Raises(pl.Callback):
        def raises(self, at_work, *args, **kwargs):
            if at_work.global_step > 4 and not at_work.sanity_checking:
                raise error

    setattr(Raises, where, Raises.raises)
    callbacks = [Raises(), *([TachographCallback()] if named else [])]
    at_work = trainer(logger=spy, max_epochs=3, log_every_n_steps=1, callbacks=callbacks)
    recording = contextlib.nullcontext() if named else tachograph.autolog("lightning", system=False)
    with recording, contextlib.suppress(ValueError, KeyboardInterrupt, SystemExit):
        at_work.fit(net(), train, val)
    assert at_work.global_step > 4
    assert spy.points
    run = only()
    assert run.status == ("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
    assert logged(run) == spy.points
