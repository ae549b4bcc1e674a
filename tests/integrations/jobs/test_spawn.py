"""Ranks that a program starts by itself: with torch.multiprocessing, and as Lightning does."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph
from tachograph.store.run_record import RunRecord

Launched = Callable[..., "subprocess.Popen[str]"]
BOTH = [(0, "owner", "finished"), (1, "worker", "finished")]


def runs(root: Path, job: subprocess.Popen[str]) -> dict[str, RunRecord]:
    """The runs of a program that ends well, oldest first."""
    output = job.communicate(timeout=180)[0]
    assert job.returncode == 0, output
    return {run.name: run for run in tachograph.open_store(root).runs(order_by="started")}


def writers(run: RunRecord) -> list[tuple[int, str, str]]:
    return sorted((writer.rank, writer.role, writer.status) for writer in run.writers)


def test_processes_that_the_program_spawns_itself(root: Path, launch: Launched) -> None:
    code = """
        from tachograph.record import launchers as jobs
        from tachograph_frameworks.torch.distributed import distributed_job

        def work(rank, port):
            dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
            jobs.announce(distributed_job)
            with tachograph.start_run("ddp") as run:
                train(run)
            dist.destroy_process_group()
            with tachograph.start_run("after"):
                pass

        if __name__ == "__main__":
            import socket
            import torch.multiprocessing as mp
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                port = found.getsockname()[1]
            mp.spawn(work, args=[port], nprocs=2)
    """
    found = runs(root, launch(code))
    assert {name: writers(run) for name, run in found.items()} == {"ddp": BOTH, "after": BOTH}
    assert list(found["ddp"].history("loss").steps) == [0, 1, 2]


LIGHTNING = """
import lightning
import torch
import tachograph

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        loss = self.layer(batch).square().mean()
        tachograph.log({"loss": loss.item()})
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def fit(devices):
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=devices, strategy="ddp", max_epochs=1, **quiet
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=2))
"""


def test_lightning_runs_the_script_again_for_each_further_rank(root: Path, launch: Launched) -> None:
    """By then the first run has ended, and the second is open already."""
    pytest.importorskip("lightning")
    code = """
        with tachograph.start_run("before"):
            pass
        with tachograph.start_run("fit"):
            fit(devices=2)
        with tachograph.start_run("after"):
            pass
    """
    found = runs(root, launch(LIGHTNING + textwrap.dedent(code)))
    assert {name: writers(run) for name, run in found.items()} == {"before": BOTH, "fit": BOTH, "after": BOTH}
    assert list(found["fit"].history("loss").steps) == [0, 1]
    assert set(found["fit"].metrics) == {"loss", "rank1/loss"}  # the user logs in all ranks
