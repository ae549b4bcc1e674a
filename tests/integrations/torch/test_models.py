"""Modules that are kept: what is loaded predicts the same, and the module that was kept is as it was."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tachograph
from tachograph.store.artifacts import Artifact
from tachograph_frameworks.torch.module_weights import save_module


class Net(nn.Module):
    """Made with arguments."""

    def __init__(self, width: int = 4, tied: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, width), nn.Linear(width, 4)
        self.norm = nn.BatchNorm1d(4)
        if tied:
            self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.second(torch.relu(self.first(x))))


class Extra(nn.Linear):
    """Has state that is no tensor."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.state: Any = {"seen": 3}

    def get_extra_state(self) -> Any:
        return self.state

    def set_extra_state(self, state: Any) -> None:
        self.state = state


X = torch.linspace(-1, 1, 12).reshape(3, 4)


@pytest.fixture(params=["safetensors", "torch"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With safetensors and without."""
    if request.param == "torch":
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "safetensors" else find(name))
    return str(request.param)


def kept(module: nn.Module, **more: Any) -> Artifact:
    with tachograph.start_run() as run:
        save_module(run, module, **more)
    return tachograph.open_store().run(run.id).artifact("model")


def notes(module: nn.Module) -> list[str]:
    with tachograph.start_run() as run:
        save_module(run, module)
    found = tachograph.open_store().run(run.id)
    assert not found.artifacts
    return [note.text for note in found.notes]


def trained(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand_like(parameter))
        module(X)  # the buffers of the norm move, too
    return module.eval()


MODULES = {
    "plain": lambda: Net(),
    "tied": lambda: Net(tied=True),
    "double": lambda: Net().double(),
    "half": lambda: nn.Linear(4, 2).bfloat16(),
    "parametrized": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)),
    "spectral": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 2)),
    "embedding": lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)),
    "extra state": lambda: Extra(4, 2),
    "frozen": lambda: Net().requires_grad_(False),
    "nothing": lambda: nn.ReLU(),
}


@pytest.mark.parametrize("kind", MODULES)
def test_what_is_loaded_predicts_the_same(kind: str, package: str) -> None:
    torch.manual_seed(1)
    made = MODULES[kind]()
    dtype = next(iter(made.parameters()), X).dtype
    module = made.eval() if dtype != torch.float32 else trained(made)
    before = copy.deepcopy(module.state_dict())
    found = kept(module)
    fresh = MODULES[kind]()
    fresh.load_state_dict(found.load())
    assert torch.equal(fresh.eval()(X.to(dtype)), module(X.to(dtype)))
    assert list(module.state_dict()) == list(before)
    wanted = "torch-safetensors" if package == "safetensors" and kind != "extra state" else "torch-state-dict"
    assert found.meta["format"] == wanted
    assert found.meta["parameters"] == sum(parameter.numel() for parameter in module.parameters())


def test_tied_weights_are_kept_once_and_safetensors_itself_reads_them() -> None:
    from safetensors.torch import load_file, load_model

    module = trained(Net(tied=True))
    found = kept(module)
    assert len(load_file(found.path())) == len(module.state_dict()) - 1
    loaded = found.load()
    assert loaded["first.weight"].data_ptr() == loaded["second.weight"].data_ptr()
    fresh = Net(tied=True)
    load_model(fresh, found.path())
    assert torch.equal(fresh.eval()(X), module(X))


def test_views_of_one_memory_are_kept_apart() -> None:
    module, memory = nn.Module(), torch.arange(24.0)
    module.whole, module.tail = nn.Parameter(memory), nn.Parameter(memory[12:])
    module.square, module.turned = nn.Parameter(memory.view(4, 6)), nn.Parameter(memory.view(4, 6).t())
    loaded = kept(module).load()
    for name, value in module.state_dict().items():
        assert torch.equal(loaded[name], value)


@pytest.mark.parametrize("wrap", [pytest.param("compiled", marks=pytest.mark.slow), "parallel", "inside"])
def test_wrappers_are_left_out(wrap: str) -> None:
    module = trained(nn.Sequential(Net(), nn.Linear(4, 1)))
    if wrap == "inside":
        outer: nn.Module = copy.deepcopy(module)
        outer[0] = torch.compile(outer[0])  # type: ignore[operator, index, assignment]
    else:
        outer = torch.compile(module) if wrap == "compiled" else nn.DataParallel(module)  # type: ignore[assignment]
    found = kept(outer)
    assert found.meta["class"] == "torch.nn.modules.container.Sequential"
    assert found.load().keys() == module.state_dict().keys()


def test_a_users_own_attribute_is_no_wrapper() -> None:
    average = torch.optim.swa_utils.AveragedModel(trained(Net()))
    assert kept(average).load().keys() == average.state_dict().keys()


def test_what_a_distributed_wrapper_holds(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        module = trained(Net())
        found = kept(nn.parallel.DistributedDataParallel(module))
    finally:
        torch.distributed.destroy_process_group()
    assert found.load().keys() == module.state_dict().keys()


def test_weights_that_are_spread_are_remarked(tmp_path: Path) -> None:
    tensors = pytest.importorskip("torch.distributed.tensor")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        module, mesh = nn.Linear(4, 4), torch.distributed.init_device_mesh("cpu", (1,))
        tensors.distribute_module(module, mesh)
        assert "spread over several processes" in notes(module)[0]
    finally:
        torch.distributed.destroy_process_group()


def test_the_module_itself_where_its_arguments_are_known(package: str) -> None:
    module = trained(Net(width=7))
    found = kept(module, meta={"init": {"width": 7}})
    loaded = found.load(trusted=True)
    assert type(loaded) is Net
    assert not loaded.training
    assert torch.equal(loaded(X), module(X))
    assert isinstance(found.load(), dict)


def test_the_module_itself_where_they_are_not(package: str) -> None:
    with pytest.raises(tachograph.Error, match=r"that .*Net was made with are not recorded: make .* load_state_dict"):
        kept(trained(Net())).load(trusted=True)

    class Local(Net):
        pass

    with pytest.raises(tachograph.Error, match="can't be imported here"):
        kept(trained(Local()), meta={"init": {}}).load(trusted=True)


@pytest.mark.parametrize("init", [{"loss": nn.MSELoss()}, {"api_key": "sk-1234567890abcdef"}, {"width": (1, 2)}])
def test_arguments_that_can_not_be_recorded(init: dict[str, Any]) -> None:
    with tachograph.start_run() as run:
        save_module(run, Net(), meta={"init": init, "score": torch.tensor(1.5)})
    found = tachograph.open_store().run(run.id)
    assert "init" not in found.artifact("model").meta
    assert found.artifact("model").meta["score"] == "tensor(1.5000)"
    assert "no plain values" in found.notes[0].text


def test_its_inputs() -> None:
    meta = kept(Net(), example={"x": X, "mask": X > 0}, meta={"epoch": 3}).meta
    assert meta["signature"] == {
        "inputs": {"x": {"shape": [None, 4], "dtype": "float32"}, "mask": {"shape": [None, 4], "dtype": "bool"}}
    }
    assert (meta["epoch"], meta["dtype"], meta["torch"]) == (3, "float32", torch.__version__)


def test_what_has_no_values_is_remarked() -> None:
    assert "no shape yet" in notes(nn.LazyLinear(3))[0]
    assert "meta device" in notes(nn.Linear(2, 2, device="meta"))[0]


def test_quantized_weights() -> None:
    module = nn.Module()
    module.register_buffer("weight", torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8))
    found = kept(module)
    assert found.meta["format"] == "torch-state-dict"
    assert torch.equal(found.load()["weight"].dequantize(), module.weight.dequantize())  # type: ignore[operator]


def test_sparse_weights() -> None:
    module = nn.Module()
    module.register_buffer("weight", torch.eye(3).to_sparse())
    assert torch.equal(kept(module).load()["weight"].to_dense(), torch.eye(3))


def test_state_that_needs_trust_or_does_not_pickle() -> None:
    module = Extra(4, 2)
    module.state = Path("x")
    found = kept(module)
    with pytest.raises(tachograph.Error, match=r"load\(trusted=True\)"):
        found.load()
    module.state = lambda: None
    with tachograph.start_run() as run:
        save_module(run, module)
    read = tachograph.open_store().run(run.id)
    assert list(read.artifact("model").load()) == ["weight", "bias"]
    assert "_extra_state" in read.notes[0].text


def test_a_full_disk_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tachograph.journal.blobs.Blobs.publish", full)
    with tachograph.start_run() as run, pytest.warns(tachograph.TachographWarning, match="No space left"):
        save_module(run, Net())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_weights_on_a_device() -> None:
    module = trained(Net(tied=True)).cuda()
    found = kept(module, meta={"init": {"tied": True}})
    assert {value.device.type for value in found.load().values()} == {"cpu"}
    assert torch.equal(found.load(trusted=True)(X), module.cpu()(X))
    module.cuda()
    assert next(module.parameters()).is_cuda


def test_safetensors_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = kept(Net())
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(tachograph.Error, match="pip install safetensors"):
        found.load()
