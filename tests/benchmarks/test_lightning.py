"""What recording costs a training of five epochs on the digits, with and without keeping the model."""

from __future__ import annotations

import logging
import statistics
import time
import warnings

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import tachograph

REPETITIONS = 40  # one differs from the next by more than what is looked for


class Net(LightningModule):
    """A perceptron with one hidden layer."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))

    def training_step(self, batch, index):
        loss = torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


def seconds(data):
    torch.manual_seed(0)
    started = time.thread_time()  # of this thread: other programs on the machine don't count
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=5, logger=False, accelerator="cpu", log_every_n_steps=10, **quiet)
    trainer.fit(Net(), DataLoader(data, batch_size=32, shuffle=True), DataLoader(data, batch_size=256))
    return time.thread_time() - started


@pytest.mark.benchmark
@pytest.mark.parametrize("models", [False, True])
def test_five_epochs_of_digits(tmp_path, monkeypatch, models):
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
    plain, recorded = [], []
    for repetition in range(REPETITIONS + 1):
        data.tensors[0][0, 0] = repetition  # else what is found out about data would be known from the first time
        plain.append(seconds(data))
        with tachograph.autolog("lightning", system=False, models=models):
            recorded.append(seconds(data))
    alone, added = statistics.median(plain[1:]), statistics.median(recorded[1:]) - statistics.median(plain[1:])
    ratio = 1 + added / alone  # the first ones import
    print(f"{alone:.3f} s alone, {added * 1e3:.1f} ms more with models={models}: {ratio:.4f}")
    assert alone > 0.3
    assert ratio < 1.03
