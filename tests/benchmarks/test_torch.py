"""What recording adds to a plain loop of PyTorch, with and without it side by side in one process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from statistics import median

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tachograph
from tachograph_frameworks.torch import hot_path

pytestmark = pytest.mark.benchmark

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WAY = "in C" if hot_path.chosen is not hot_path.in_python else "in Python: the C part was not built"
PAIRS = 25
MANY_PAIRS = 200  # where a difference of a thousandth counts: half of the pairs lie 5 % around their median
WIDTH = 224  # of the hidden layers: steps of about a millisecond


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def digits() -> TensorDataset:
    X, y = load_digits(return_X_y=True)
    return TensorDataset(torch.tensor(X, dtype=torch.float32, device=DEVICE), torch.tensor(y, device=DEVICE))


def train(data: TensorDataset, width: int, steps: int) -> float:
    """Seconds that the steps take, without the setting up and the first ten."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    model.to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    done, began = 0, 0.0
    while done < steps + 10:
        for inputs, targets in DataLoader(data, batch_size=64, shuffle=True):
            if done == 10:
                began = time.perf_counter()
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            done += 1
            if done == steps + 10:
                break
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def in_the_way() -> list[object]:
    """Memory of random sizes. Without it a training gets the same places each time it is begun, with and without
    recording others, and which they are makes as much as one percent."""
    tensors = [torch.ones(random.randrange(1, 1 << random.randrange(4, 17))) for _ in range(random.randrange(60))]
    return [*tensors, *(bytearray(random.randrange(16, 2000)) for _ in range(random.randrange(300)))]


def ratio(steps: int, work: Callable[[], float], count: int = PAIRS) -> tuple[float, float, float]:
    """What a step costs recorded beside plain, both in one long run: the ratio, and seconds plain and added."""

    def plainly() -> float:
        kept = in_the_way()
        seconds = work()
        del kept
        return seconds

    def recorded() -> float:
        with tachograph.autolog("torch", models=False):
            return plainly()

    with tachograph.start_run():
        plainly()
        time.sleep(2)  # what is found out once about a run, beside the training
        pairs: list[tuple[float, float]] = []
        for number in range(count):
            if number % 2:
                pairs.append((plainly(), recorded()))
            else:
                after = recorded()
                pairs.append((plainly(), after))
    plain = median(a for a, _ in pairs)
    return median(b / a for a, b in pairs), plain / steps, median(b - a for a, b in pairs) / steps


def test_a_loop_with_a_loss_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    data, steps = digits(), 250
    found, step, added = ratio(steps, lambda: train(data, WIDTH, steps), MANY_PAIRS)
    with capsys.disabled():
        print(f"\n{DEVICE}, {WAY}: steps of {step * 1e3:.2f} ms, {added * 1e6:.1f} us added to each, ratio {found:.4f}")
    assert found < 1.02


def test_the_patches_where_nothing_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    data, steps = digits(), 250

    def suppressed() -> float:
        with tachograph.suppress():
            return train(data, WIDTH, steps)

    found, step, added = ratio(steps, suppressed, MANY_PAIRS)
    with capsys.disabled():
        print(f"\n{DEVICE}, suppressed: steps of {step * 1e3:.2f} ms, {added * 1e6:.1f} us added, ratio {found:.4f}")
    assert found < 1.01


def test_what_a_step_costs(capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest loop there is, to see what is added in microseconds."""
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.0)

    def work() -> float:
        began = time.perf_counter()
        for _ in range(2000):
            optimizer.zero_grad()
            loss = weight.square().sum()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - began

    _, step, added = ratio(2000, work)
    with capsys.disabled():
        print(f"\n{WAY}: a step of {step * 1e6:.0f} us gets {added * 1e6:.1f} us longer")
    assert added < 30e-6
