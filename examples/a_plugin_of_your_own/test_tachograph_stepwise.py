"""The plug-in keeps the promises."""

import stepwise

from tachograph.testing import check_plugin, recorded

DATA = [(1.0, 2.0), (2.0, 4.1), (3.0, 5.9)]


def train():
    return stepwise.Model().fit(DATA, callbacks=[]).slope


def test_the_promises():
    check_plugin("tachograph_stepwise", train)


def test_what_is_recorded():
    with recorded("stepwise") as store:
        slope = train()
        [run] = store.runs()
        assert run.params == {"lr": 0.1, "steps": 20}
        assert run.history("loss").steps.tolist() == list(range(20))
        assert [data.name for data in run.datasets] == ["train"]
        assert run.artifact("model").load().slope == slope
