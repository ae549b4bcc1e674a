"""Jobs as their real launchers start them, on this machine's processors."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch.distributed")

# A training in which the ranks meet at every step, as they do in each real one.
LOOP = """
import os, signal, sys, time
import torch
import torch.distributed as dist
import tachograph

def train(run, steps=3, each=lambda step: None):
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        loss = model(torch.ones(8, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if dist.get_rank() == 0:
            run.log({"loss": loss.item()})
        each(step)
"""
Launched = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launched]:
    """Starts ``python <arguments> train.py`` with a program that begins with ``LOOP``."""
    launched: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, name: str = "train.py") -> subprocess.Popen[str]:
        (tmp_path / name).write_text(LOOP + textwrap.dedent(code))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        # With torchrun's own store, torch 2.13's gloo looks for the processes of the attempt before. It is the default
        # of older versions to do without; the port is another one after each restart then.
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        command = [sys.executable, *(argument.replace("{script}", name) for argument in arguments)]
        if not any("{script}" in argument for argument in arguments):
            command.append(name)
        launched.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return launched[-1]

    yield start
    for job in launched:
        if job.poll() is None:
            job.terminate()  # torchrun then ends its ranks
            job.communicate(timeout=180)
