"""Which metrics and parameters are shown first."""

from __future__ import annotations

from tachograph.cli.view import ranking


def test_held_out_quality_comes_before_training_and_both_before_times():
    names = ["lr", "fit_seconds", "epoch", "loss", "custom", "train_accuracy", "val_loss", "test-auc", "interval"]
    assert ranking.metrics(names) == [
        "val_loss", "test-auc", "loss", "train_accuracy", "custom", "interval", "lr", "fit_seconds", "epoch",
    ]  # fmt: skip


def test_what_most_runs_have_comes_first():
    runs = [{"loss": 1, "epoch": 2}, {"loss": 1, "epoch": 2}, {"val_loss": 1, "epoch": 2}]
    assert ranking.common_metrics(runs) == ["loss", "val_loss", "epoch"]


def test_parameters_in_which_runs_differ():
    runs = [{"lr": 1, "seed": 7, "a": None}, {"lr": 1.0, "seed": 7, "b": 2, "a": False}, {"lr": 2, "seed": 7}]
    assert ranking.differing(runs) == ["lr", "a"]
    assert ranking.differing(runs[:1]) == ["lr", "seed", "a"]
    assert ranking.differing([]) == []
