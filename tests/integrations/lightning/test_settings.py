"""What is known of a training besides its points."""

from __future__ import annotations

import os

import pytest
import torch
from tests.integrations.lightning.conftest import data, points
from torch.utils.data import DataLoader, IterableDataset, Subset

import tachograph
from tachograph.journal.blobs import digest_of


def test_settings_and_hyperparameters(autolog, only, pl, trainer, net, train, val):
    stopping = pl.callbacks.EarlyStopping("val_loss", patience=9)
    settings = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5, "precision": "bf16-mixed", "devices": 1}
    trainer(callbacks=[stopping], **settings).fit(net(lr=0.05), train, val)
    params = only().params
    assert (params["lr"], params["hidden"]) == (0.05, 3)
    expected = {
        "max_epochs": 2, "precision": "bf16-mixed", "devices": 1, "accelerator": "cpu", "strategy": "single_device",
        "num_nodes": 1, "accumulate_grad_batches": 2, "gradient_clip_val": 0.5, "log_every_n_steps": 2,
        "callbacks": ["EarlyStopping"], "loggers": [],
    }  # fmt: skip
    assert {name: params[f"trainer.{name}"] for name in expected} == expected
    assert params["model.class"].endswith("Net")
    assert (params["model.parameters"], params["model.trainable_parameters"]) == (19, 19)
    assert params["early_stopping.patience"] == 9
    assert (params["optimizer.class"], params["optimizer.lr"], params["optimizer.momentum"]) == ("SGD", 0.05, 0)
    assert only().name == "Net"
    assert only().artifact("summary").path().name == "model_summary.txt"
    assert "layers.0" in only().artifact("summary").load()


def test_schedulers(autolog, only, trainer, net, net_class, train, val):
    class Scheduled(net_class):
        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.1, weight_decay=0.3)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.25)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss_epoch"}}

    trainer().fit(net(Scheduled), train, val)
    params = only().params
    assert (params["optimizer.class"], params["optimizer.weight_decay"]) == ("AdamW", 0.3)
    assert (params["scheduler.class"], params["scheduler.factor"]) == ("ReduceLROnPlateau", 0.25)
    assert (params["scheduler.monitor"], params["scheduler.interval"]) == ("val_loss_epoch", "epoch")


def test_a_training_without_an_optimizer(autolog, only, trainer, net, net_class, train):
    class Still(net_class):
        def configure_optimizers(self):
            return None

    trainer().fit(net(Still), train)
    assert only().status == "finished"
    assert only().summary("loss_step").count > 0
    assert not [name for name in only().params if name.startswith("optimizer")]


def test_a_data_module(autolog, only, pl, trainer, net):
    class Data(pl.LightningDataModule):
        def __init__(self, batch_size=4, kind="small"):
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self):
            return DataLoader(data(), batch_size=self.hparams.batch_size, shuffle=True)

        def val_dataloader(self):
            return DataLoader(Subset(data(), [1, 2, 3, 4]), batch_size=2)

    trainer().fit(net(), datamodule=Data())
    run = only()
    assert (run.params["batch_size"], run.params["kind"], run.params["lr"]) == (4, "small", 0.1)
    assert run.params["trainer.datamodule"] == "Data"
    assert (run.params["data.train.batch_size"], run.params["data.train.shuffle"]) == (4, True)
    found = {dataset.name: (dataset.role, dataset.rows, dataset.columns) for dataset in run.datasets}
    assert found == {"val": ("validation", 4, 4), "train": ("train", 32, 4)}
    assert all(dataset.digest for dataset in run.datasets)


class Stream(IterableDataset):
    """Counts how often it is begun."""

    begun = 0

    def __iter__(self):
        Stream.begun += 1
        return iter(data())


class Lazy(torch.utils.data.Dataset):
    """Counts what is fetched."""

    def __init__(self):
        self.fetched, self.rows = 0, data()

    def __len__(self):
        return 32

    def __getitem__(self, index):
        self.fetched += 1
        return self.rows[index]


def test_data_is_described_without_reading_it(autolog, store, trainer, net):
    Stream.begun = 0
    trainer(max_epochs=1).fit(net(), DataLoader(Stream(), batch_size=8))
    assert Stream.begun == 1
    lazy = Lazy()
    trainer(max_epochs=1).fit(net(), DataLoader(lazy, batch_size=8))
    assert lazy.fetched == 32
    stream, counted = store().runs(order_by="started")
    assert [(dataset.rows, dataset.digest) for dataset in stream.datasets] == [(None, "")]
    assert [(dataset.rows, dataset.digest) for dataset in counted.datasets] == [(32, "")]
    assert (counted.params["data.train.rows"], counted.params["data.train.dataset"]) == (32, "Lazy")


class Batches:
    """Neither a loader nor a list of loaders."""

    def __iter__(self):
        return iter([data()[:8], data()[8:16]])


def test_batches_that_are_no_loader(autolog, only, trainer, net):
    trainer(max_epochs=1).fit(net(), Batches())
    assert only().status == "finished"
    assert only().params["data.train.class"] == "Batches"


def test_data_is_not_recorded_where_nobody_wants_it(only, trainer, net, train):
    with tachograph.autolog("lightning", system=False, datasets=False):
        trainer().fit(net(), train)
    assert only().datasets == []


def test_early_stopping(autolog, only, pl, trainer, net, train, val):
    stopping = pl.callbacks.EarlyStopping("val_loss", patience=1, min_delta=100.0)
    trainer(max_epochs=9, callbacks=[stopping]).fit(net(), train, val)
    run = only()
    assert run.metrics["stopped_epoch"] == stopping.stopped_epoch == 1
    assert run.metrics["best_score"] == float(stopping.best_score)
    assert "did not improve" in run.tags["early_stopping"]
    assert (run.params["early_stopping.monitor"], run.params["early_stopping.mode"]) == ("val_loss", "min")
    assert run.params["early_stopping.min_delta"] == 100.0


def test_early_stopping_that_does_not_stop(autolog, only, pl, trainer, net, train, val):
    trainer(callbacks=[pl.callbacks.EarlyStopping("val_loss", patience=9)]).fit(net(), train, val)
    assert "stopped_epoch" not in only().metrics
    assert "early_stopping" not in only().tags
    assert "best_score" in only().metrics


def test_the_model_is_kept(autolog, only, trainer, net, train):
    module = net()
    trainer().fit(module, train)
    kept = only().artifact("model")
    assert (kept.kind, kept.meta["global_step"]) == ("model", 8)
    weights = kept.load()
    assert weights.keys() == module.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_the_model_is_not_kept_where_nobody_wants_it(only, trainer, net, train):
    with tachograph.autolog("lightning", system=False, models=False):
        trainer().fit(net(), train)
    assert [artifact.name for artifact in only().artifacts] == ["summary"]


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_checkpoints_are_kept_as_they_were_saved(only, pl, trainer, net, train, val, tmp_path):
    seen = {}

    class Look(pl.callbacks.ModelCheckpoint):
        def _save_checkpoint(self, trainer, filepath):
            super()._save_checkpoint(trainer, filepath)
            seen[trainer.global_step] = digest_of(tmp_path / filepath)

    saving = Look(tmp_path, monitor="val_loss_epoch", mode="max", save_top_k=1)
    with tachograph.autolog("lightning", system=False, checkpoints="all"):
        trainer(max_epochs=3, enable_checkpointing=True, callbacks=[saving]).fit(net(), train, val)
    run = only()
    best = run.artifact("best")
    assert best.digest == digest_of(tmp_path / saving.best_model_path) == seen[best.step]
    assert best.meta["monitor"] == "val_loss_epoch"
    assert best.meta["mode"] == "max"
    assert best.meta["score"] == best.meta["best_score"] == float(saving.best_model_score)
    assert best.kind == "checkpoint"


@pytest.mark.parametrize("policy", ["best", "all", False])
def test_best_and_last_checkpoints(only, pl, trainer, net, train, val, tmp_path, policy):
    saving = pl.callbacks.ModelCheckpoint(tmp_path, monitor="val_loss_epoch", save_top_k=1, save_last=True)
    with tachograph.autolog("lightning", system=False, checkpoints=policy):
        trainer(max_epochs=3, enable_checkpointing=True, callbacks=[saving]).fit(net(), train, val)
    kept = {artifact.name: artifact.digest for artifact in only().artifacts if artifact.kind == "checkpoint"}
    if policy is False:
        assert kept == {}
    else:
        assert only().artifact("checkpoint").digest == digest_of(tmp_path / "last.ckpt")
        assert only().artifact("best").digest == digest_of(saving.best_model_path and tmp_path / saving.best_model_path)


def test_a_checkpoint_that_the_user_saves(autolog, only, trainer, net, train, tmp_path):
    at_work = trainer()
    at_work.fit(net(), train)
    at_work.save_checkpoint(tmp_path / "mine.ckpt")
    kept = only().artifact("checkpoint")
    assert (kept.filename, kept.digest) == ("mine.ckpt", digest_of(tmp_path / "mine.ckpt"))
    assert kept.step == 8


def test_going_on_from_a_checkpoint(autolog, store, trainer, net, train, tmp_path):
    first = trainer()
    first.fit(net(), train)
    first.save_checkpoint(tmp_path / "first.ckpt")
    trainer(max_epochs=3).fit(net(), train, ckpt_path=str(tmp_path / "first.ckpt"))
    before, after = store().runs(order_by="started")
    [link] = after.links
    assert (link.relation, link.target) == ("resumed from", before.artifact("checkpoint").digest)
    assert link.meta["path"] == os.fspath(tmp_path / "first.ckpt")
    assert [step for step, _ in points(after)["loss_step"]] == [9, 11]
    assert before.links == []
