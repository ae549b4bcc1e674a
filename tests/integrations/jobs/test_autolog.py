"""Plain loops in several processes, with no line of ours in them but ``autolog()``."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph

Launched = Callable[..., "subprocess.Popen[str]"]

LOOP = """
tachograph.autolog(system=False)

def train_ddp():
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.utils.data.TensorDataset(torch.randn(16, 3), torch.randn(16, 1))
    sampler = torch.utils.data.DistributedSampler(data)
    for _ in range(2):
        for inputs, targets in torch.utils.data.DataLoader(data, batch_size=4, sampler=sampler):
            my_loss = torch.nn.functional.mse_loss(model(inputs), targets)
            my_loss.backward()
            optimizer.step()
"""

LAUNCHED = """
dist.init_process_group("gloo")
train_ddp()
dist.destroy_process_group()
"""

SPAWNED = """
def rank(number):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=os.environ["THE_PORT"])
    dist.init_process_group("gloo", rank=number, world_size=2)
    train_ddp()
    dist.destroy_process_group()

if __name__ == "__main__":
    import socket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ["THE_PORT"] = str(free.getsockname()[1])
    torch.multiprocessing.spawn(rank, nprocs=2)
"""

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--monitor-interval=0.1")


@pytest.mark.parametrize(("code", "command"), [(LAUNCHED, TORCHRUN), (SPAWNED, ())], ids=["torchrun", "spawn"])
def test_a_loop_in_two_ranks_is_one_run(root: Path, launch: Launched, code: str, command: tuple[str, ...]) -> None:
    job = launch(LOOP + code, *command)
    output = job.communicate(timeout=180)[0]
    assert job.returncode == 0, output
    [run] = tachograph.open_store(root).runs(children=True)
    assert sorted((writer.rank, writer.role, writer.status) for writer in run.writers) == [
        (0, "owner", "finished"),
        (1, "worker", "finished"),
    ], output
    assert run.history("my_loss").steps.tolist() == [0, 1, 2, 3]
    assert run.params["model.class"] == "torch.nn.modules.linear.Linear"
    assert run.history("epoch").values.tolist() == [0, 1]


def test_a_loop_that_is_restarted_goes_on_with_its_steps(root: Path, launch: Launched) -> None:
    code = """
        dist.init_process_group("gloo")
        train_ddp()
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            dist.barrier()
            if dist.get_rank() == 1:
                raise RuntimeError("a flaky node")
            time.sleep(60)
        dist.destroy_process_group()
    """
    job = launch(LOOP + textwrap.dedent(code), *TORCHRUN, "--max-restarts=1")
    output = job.communicate(timeout=180)[0]
    assert job.returncode == 0, output
    [run] = tachograph.open_store(root).runs(children=True)
    assert sorted((writer.rank, writer.attempt) for writer in run.writers) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert run.status == "finished"
    assert run.history("my_loss").steps.tolist() == list(range(8))
