"""The hot path of a plain loop, in C and in Python: that both do the same, and that torch looks as it did."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from tests.integrations.torch.conftest import network
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

import tachograph
from tachograph import journal
from tachograph.events import Metrics
from tachograph_frameworks.torch.hot_path import chosen
from tachograph_frameworks.torch.watching import Loop

HAS_COMPILER = shutil.which("cc") is not None and Path(sysconfig.get_path("include"), "Python.h").exists()
IN_C = chosen.__name__ == "tachograph_frameworks.torch.hot_path._in_c"

LOOPS = """
import sys
if "python" in sys.argv:
    sys.modules["tachograph_frameworks.torch.hot_path._in_c"] = None
import torch, tachograph
from torch.utils.data import DataLoader, TensorDataset
from tachograph_frameworks.torch.hot_path import chosen
torch.manual_seed(0)
data = TensorDataset(torch.randn(40, 3), torch.randn(40, 1))

def network():
    return torch.nn.Linear(3, 1)

def plain(loader, network, steps=None):
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = (network(inputs) - targets).square().mean()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            for inputs, targets in DataLoader(data, batch_size=40):
                network(inputs)

def several(loader, network):
    first = torch.optim.SGD(network.parameters(), lr=0.1)
    second = torch.optim.SGD([{"params": [network.weight]}, {"params": [network.bias], "lr": 0.2}], lr=0.3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(first, 0.5)
    for inputs, targets in loader:
        loss_a = (network(inputs) - targets).square().mean()
        (loss_a / 2).backward()
        loss_b = network(inputs).abs().mean()
        loss_b.backward()
        first.step()
        scheduler.step()
        loss_b = network(inputs).abs().mean()
        loss_b.backward(torch.ones(()), retain_graph=False)
        second.step()

def odd(loader, network):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for number, (inputs, targets) in enumerate(loader):
        loss = (network(inputs) - targets).square()
        try:
            loss.backward()
        except RuntimeError as error:
            print(error)
        loss = loss.mean() * (float("nan") if number == 2 else 1)
        loss.backward()
        with tachograph.suppress():
            optimizer.step()
            loss.detach().clone().requires_grad_().backward()
        optimizer.step()
        optimizer.step()

def by_hand(network):
    for _ in range(5):
        loss = network(data.tensors[0]).square().mean()
        torch.Tensor.backward(loss)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.01 * parameter.grad

def left_and_gone_on_with(network):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    def look(factor):
        loss = network(data.tensors[0]).square().mean() * factor
        loss.backward()
    for step in range(6):
        look(2.0)
        look(3.0)
        yield
        loss = network(data.tensors[0]).square().mean()
        loss.backward()
        if step % 2:
            yield
        optimizer.step()

def in_turn():
    for _ in zip(left_and_gone_on_with(network()), left_and_gone_on_with(network())):
        pass
    for _ in left_and_gone_on_with(network()):
        pass

def two(first, second):
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (first, second)]
    for step in range(8):
        loss_a = first(data.tensors[0]).mean()
        loss_a.backward()
        optimizers[0].step()
        loss_b = second(data.tensors[0]).mean()
        loss_b.backward()
        optimizers[1].step()
        if step % 3 == 0:
            optimizers[0].step()

class Own(DataLoader):
    def __iter__(self):
        return (tuple(batch) for batch in super().__iter__())

for number, train in enumerate([
    lambda: plain(DataLoader(data, batch_size=10), network()),
    lambda: plain(DataLoader(data, batch_size=7, num_workers=1, persistent_workers=True), network()),
    lambda: plain(Own(data, batch_size=16, drop_last=True), network()),
    lambda: several(DataLoader(data, batch_size=4), network()),
    lambda: odd(DataLoader(data, batch_size=8), network()),
    lambda: by_hand(network()),
    lambda: in_turn(),
    lambda: two(network(), network()),
]):
    with tachograph.autolog("torch", system=False, models=False, every_n_steps=1 + number % 2):
        with tachograph.start_run(name=f"{number}"):
            train()
print(chosen.__name__)
"""


def told(root: Path) -> dict[str, list[object]]:
    """What was recorded of each run's steps: times and rates differ."""
    found = {}
    for run in tachograph.open_store(root).runs():
        [writer] = journal.writers(root / "runs" / run.id)
        events = [event for event in journal.read_writer(writer) if isinstance(event, Metrics)]
        found[run.name] = [
            (event.step, sorted((name, None if "second" in name else value) for name, value in event.values.items()))
            for event in events
        ]
    return found


@pytest.mark.skipif(sys.platform != "linux" or not HAS_COMPILER, reason="it can't be built here")
def test_it_is_in_c_where_that_can_be_built():
    assert IN_C


@pytest.mark.slow
@pytest.mark.skipif(not IN_C, reason="it was not built")
def test_both_ways_record_the_same(script, tmp_path):
    said, recorded = [], []
    for way in ("c", "python"):
        done = script(LOOPS, way, TACHOGRAPH_DIR=str(tmp_path / way))
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        said.append(done.stdout.splitlines())
        recorded.append(told(tmp_path / way))
    assert [lines.pop() for lines in said] == [
        "tachograph_frameworks.torch.hot_path._in_c",
        "tachograph_frameworks.torch.hot_path.in_python",
    ]
    assert said[0] == said[1]
    assert recorded[0] == recorded[1]
    assert [len(recorded[0][str(number)]) > 2 for number in range(8)] == [True] * 8


@pytest.mark.slow
@pytest.mark.parametrize("way", ["c", "python"])
def test_a_fault_of_ours_stops_no_loop(script, tmp_path, way):
    code = (
        LOOPS.partition("def several")[0]
        + """
network = network()
plain(DataLoader(data, batch_size=10), network)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
with tachograph.autolog("torch", system=False, models=False):
    for step in range(20):
        if step == 10:
            torch.Tensor.item = lambda tensor: 1 / 0
        if step == 15:
            optimizer.param_groups = tuple(optimizer.param_groups)
        loss = network(data.tensors[0]).mean()
        loss.backward()
        optimizer.step()
print("done")
"""
    )
    done = script(code, way, TACHOGRAPH_DIR=str(tmp_path / way), TACHOGRAPH_STRICT="")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "Tensor.backward failed and recorded nothing here (ZeroDivisionError" in done.stderr
    [run] = tachograph.open_store(tmp_path / way).runs()
    assert list(run.history("loss").steps) == list(range(10))
    assert list(run.history("lr").steps) == list(range(20))


@pytest.mark.parametrize(("owner", "name"), [(torch.Tensor, "backward"), (_BaseDataLoaderIter, "__next__")])
def test_torch_looks_as_it_did(owner, name):
    original = vars(owner)[name]
    with tachograph.autolog("torch", system=False):
        ours = vars(owner)[name]
        assert ours is not original
        assert ours.__wrapped__ is original
        assert (ours.__name__, ours.__qualname__, ours.__module__) == (name, original.__qualname__, original.__module__)
        assert ours.__doc__ == original.__doc__
        assert inspect.signature(ours) == inspect.signature(original)
        assert pickle.loads(pickle.dumps(ours)) is copy.deepcopy(ours) is ours
    assert vars(owner)[name] is original


def test_a_subclass_and_wrong_calls_are_torchs_to_judge(autolog):
    class Own(torch.Tensor):
        pass

    loss = torch.ones((), requires_grad=True).as_subclass(Own) * 2
    loss.backward()
    for call in (lambda: torch.Tensor.backward(), lambda: loss.backward(nonsense=1)):
        with pytest.raises(TypeError, match="backward"):
            call()
    with pytest.raises(AttributeError):
        torch.Tensor.backward(3)


@pytest.mark.parametrize("fault", [ZeroDivisionError, KeyboardInterrupt])
def test_what_a_loader_raises_comes_through(recorded, data, fault):
    class Failing(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            if index == 6:
                raise fault
            return data[index]

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        for inputs, _ in DataLoader(Failing(), batch_size=2):
            loss = model(inputs).mean()
            loss.backward()
            optimizer.step()

    with pytest.raises(fault):
        train()
    assert list(recorded().history("loss").steps) == [0, 1, 2]


def test_nothing_is_left_behind():
    def made() -> int:
        gc.collect()
        return sum(isinstance(item, Loop) for item in gc.get_objects())

    before = made()
    for _ in range(3):
        with tachograph.autolog("torch", system=False):
            weight = torch.ones((), requires_grad=True)
            for _ in range(3):
                weight.square().backward()
    assert made() <= before


@pytest.mark.skipif(not IN_C, reason="it was not built")
def test_members_that_are_relied_on_are_what_they_have_to_be():
    loop = Loop()
    for owner, name, wrong in ((loop, "_plain", 3), (loop.readings, "latest", loop), (chosen.Notes(), "noted", ())):
        with pytest.raises(TypeError, match="is no"):
            setattr(owner, name, wrong)
    with pytest.raises(TypeError):
        chosen.plain_events((), 0, [])
    with pytest.raises(ValueError, match="begins at 0"):
        chosen.plain_events([], -1, [])
    with pytest.raises(TypeError):
        loop.stepped()
    assert chosen.plain_events([None, ()], 0, []) == 0
