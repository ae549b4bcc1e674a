"""Learning rates: the names and values of Lightning's own monitor, which is not recorded twice."""

from __future__ import annotations

import pytest
import torch
from tests.integrations.lightning.conftest import points

from tachograph_frameworks.lightning import TachographLogger


def rates(found):
    return {name: made for name, made in found.items() if name.startswith("lr-") or name == "named"}


def one(module):
    return torch.optim.Adam(module.parameters(), lr=0.1)


def with_a_schedule_by_epoch(module):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def with_a_schedule_by_step(module):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "named"}}


def with_groups(module):
    first, last = module.layers[0], module.layers[2]
    groups = [{"params": first.parameters(), "lr": 0.3}, {"params": last.parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


CONFIGURED = [one, with_a_schedule_by_epoch, with_a_schedule_by_step, with_groups]


@pytest.fixture
def module(net, net_class):
    def make(configure):
        class Configured(net_class):
            def configure_optimizers(self):
                return configure(self)

        return net(Configured)

    return make


@pytest.mark.parametrize("configure", CONFIGURED)
@pytest.mark.parametrize("settings", [{"log_every_n_steps": 1}, {"log_every_n_steps": 1, "accumulate_grad_batches": 2}])
def test_rates_are_those_of_the_monitor(autolog, store, pl, trainer, module, train, spy, configure, settings):
    trainer(**settings).fit(module(configure), train)
    monitor = pl.callbacks.LearningRateMonitor(logging_interval="step")
    trainer(logger=spy, callbacks=[monitor], **settings).fit(module(configure), train)
    ours, theirs = [rates(points(run)) for run in store().runs(order_by="started")]
    assert theirs == rates(spy.points)
    assert ours
    assert ours == {name: list(dict.fromkeys(made)) for name, made in theirs.items()}


@pytest.mark.parametrize("configure", [with_a_schedule_by_epoch, with_groups])
def test_a_monitor_is_recorded_once_and_as_it_is(autolog, store, pl, trainer, module, train, spy, configure):
    for loggers in ([spy], [spy, TachographLogger()]):
        spy.points.clear()
        monitor = pl.callbacks.LearningRateMonitor(log_momentum=True)
        trainer(logger=loggers, callbacks=[monitor]).fit(module(configure), train)
        assert any("momentum" in name for name in spy.points)
        assert points(store().run("latest")) == spy.points


def test_rates_where_nothing_is_logged_as_often(autolog, only, trainer, module, train):
    trainer(log_every_n_steps=50, max_epochs=3).fit(module(with_a_schedule_by_epoch), train)
    assert points(only())["lr-SGD"] == [(0, 0.1), (4, pytest.approx(0.01)), (8, pytest.approx(0.001))]


@pytest.mark.parametrize("logs", [False, True])
def test_the_rates_of_a_step_that_fails_or_logs_nothing(autolog, only, trainer, net, net_class, train, logs):
    class Failing(net_class):
        def training_step(self, batch, index):
            if index == 3:
                raise ZeroDivisionError
            return super().training_step(batch, index) if logs else self.layers(batch[0]).square().mean()

    with pytest.raises(ZeroDivisionError):
        trainer(max_epochs=1, log_every_n_steps=1).fit(net(Failing), train)
    assert rates(points(only())) == {"lr-SGD": [(step, 0.1) for step in range(4)]}
