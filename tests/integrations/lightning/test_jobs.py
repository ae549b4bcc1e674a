"""Two processes, one run: by Lightning's own launcher, by torchrun, by forking; and what each of them adds."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from tests.integrations.lightning.conftest import points

import tachograph

PROGRAM = textwrap.dedent(
    """
    import os, sys, warnings
    warnings.filterwarnings("ignore")
    import tachograph
    named = "named" in sys.argv
    if not named:
        tachograph.autolog("lightning", system=False)
    import torch
    from {package} import LightningModule, Trainer
    from {package}.callbacks import ModelCheckpoint
    from tachograph_frameworks.lightning import TachographCallback, TachographLogger

    class Net(LightningModule):
        def __init__(self, lr=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            loss = self.layer(batch).pow(2).mean()
            self.log("loss", loss, on_step=True, on_epoch=True, sync_dist=True)
            if "fail" in sys.argv and self.global_rank == 1 and index == 1:
                raise ValueError("rank 1 fails")
            return loss

        def test_step(self, batch, index):
            self.log("test_loss", self.layer(batch).pow(2).mean(), sync_dist=True)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    if __name__ == "__main__":
        torch.manual_seed(0)
        loader = torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=4)
        trainer = Trainer(strategy={strategy!r}, accelerator="cpu", devices=2, max_epochs=2, log_every_n_steps=1,
                          logger=TachographLogger() if "logger" in sys.argv or named else False,
                          enable_progress_bar=False, enable_model_summary=False,
                          callbacks=[ModelCheckpoint({folder!r})] + [TachographCallback()] * named)
        module = Net()
        trainer.fit(module, loader)
        if {strategy!r} != "ddp_spawn":  # a run that goes on is not found by spawned processes yet
            trainer.test(module, loader, verbose=False)
        if torch.distributed.is_initialized():  # as torch asks for
            torch.distributed.destroy_process_group()
    """
)


@pytest.fixture
def launched(tmp_path):
    def launch(package, strategy="ddp", launcher=(), arguments=()):
        path = tmp_path / "job.py"
        path.write_text(PROGRAM.format(package=package, strategy=strategy, folder=str(tmp_path / "checkpoints")))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("TACHOGRAPH_PARENT", None)  # a job is nobody's child
        command = [sys.executable, *launcher, str(path), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)

    return launch


LAUNCHERS = {
    "its own": {},
    "torchrun": {"launcher": ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]},
    "forked": {"strategy": "ddp_fork"},
    "spawned": {"strategy": "ddp_spawn"},
}


@pytest.mark.slow
@pytest.mark.parametrize("how", LAUNCHERS)
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_one_job_is_one_run(only, launched, package, how):
    done = launched(package, **LAUNCHERS[how])
    assert done.returncode == 0, done.stderr
    run = only()
    found = points(run)
    assert [step for step, _ in found["loss_step"]] == list(range(8))
    assert [step for step, _ in found["loss_epoch"]] == [3, 7]
    assert len(found.get("test_loss", ())) == (how != "spawned")
    assert (run.status, run.params["lr"], run.params["trainer.world_size"]) == ("finished", 0.1, 2)
    assert run.artifact("checkpoint").step == 8
    assert run.artifact("model")
    assert {writer.status for writer in run.writers} == {"finished"}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["named", "logger"])
@pytest.mark.parametrize("how", ["its own", "torchrun"])
def test_one_job_with_callback_and_logger_is_one_run(only, launched, how, arguments):
    done = launched("lightning.pytorch", arguments=[arguments], **LAUNCHERS[how])
    assert done.returncode == 0, done.stderr
    found = points(only())
    assert [step for step, _ in found["loss_step"]] == list(range(8))
    assert len(found["test_loss"]) == 1
    assert only().status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["its own", "torchrun"])
def test_the_death_of_another_rank_is_on_record(only, launched, how):
    done = launched("lightning.pytorch", arguments=["fail"], **LAUNCHERS[how])
    assert done.returncode != 0
    run = only()
    assert run.status != "finished"
    failed = [writer for writer in run.writers if writer.error is not None and "rank 1 fails" in writer.error.message]
    assert [writer.rank for writer in failed] == [1]
    assert tachograph.active_run() is None
