"""Losses on an accelerator: recorded as they were, with no synchronisation and no memory of theirs held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import tachograph

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SYNCHRONISING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


def big() -> nn.Module:
    return nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512)).cuda()


def train(steps: int, each: Callable[[torch.Tensor], None] = lambda loss: None) -> nn.Module:
    torch.manual_seed(0)
    model = big()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loop(model, optimizer, torch.randn(256, 512, device="cuda"), steps, each)
    return model


def loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    steps: int,
    each: Callable[[torch.Tensor], None] = lambda loss: None,
) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(inputs) - inputs).square().mean()
        loss.backward()
        optimizer.step()
        each(loss)


def only(root: Path) -> Any:
    [run] = tachograph.open_store(root).runs()
    return run


def test_every_loss_arrives_as_it_was(root: Path) -> None:
    kept: list[torch.Tensor] = []

    def change(loss: torch.Tensor) -> None:
        kept.append(loss.detach().clone())
        loss.data.fill_(-1.0)

    with tachograph.autolog("torch", system=False):
        train(300, change)
    history = only(root).history("loss")
    assert history.steps.tolist() == list(range(300))
    assert history.values.tolist() == [loss.item() for loss in kept]
    assert (history.times[1:] >= history.times[:-1]).all()


def test_a_scalar_on_a_device_may_be_logged_by_name(root: Path) -> None:
    with tachograph.start_run("mine") as run:
        for step in range(10):
            run.log({"on device": torch.tensor(step / 2, device="cuda"), "on host": float(step)}, step=step)
        run.log({"counted": torch.tensor(1.0, device="cuda")})
        run.log({"counted": torch.tensor(2.0, device="cuda")})
    read = only(root)
    assert read.history("on device").values.tolist() == [step / 2 for step in range(10)]
    assert read.history("on host").steps.tolist() == list(range(10))
    assert read.history("counted").steps.tolist() == [0, 1]


def test_nothing_synchronises(root: Path) -> None:
    model, inputs = big(), torch.randn(256, 512, device="cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loop(model, optimizer, inputs, 3)
    with tachograph.autolog("torch", system=False, models=False):
        torch.cuda.set_sync_debug_mode("error")
        try:
            loop(model, optimizer, inputs, 50)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len(only(root).history("loss").values) == 50


def synchronising_calls(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor) -> dict[str, int]:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        loop(model, optimizer, inputs, 100)
    return {event.key: event.count for event in profiler.key_averages() if event.key in SYNCHRONISING}


def test_a_trace_shows_no_more_synchronising_calls_than_without(root: Path) -> None:
    model, inputs = big(), torch.randn(256, 512, device="cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loop(model, optimizer, inputs, 3)
    plain = synchronising_calls(model, optimizer, inputs)
    with tachograph.autolog("torch", system=False, models=False):
        loop(model, optimizer, inputs, 3)
        recorded = synchronising_calls(model, optimizer, inputs)
    print("synchronising calls without and with", plain, recorded)
    assert sum(recorded.values()) <= sum(plain.values()) + 5  # the profiler's own vary; a hundred steps would add 100


def test_no_memory_of_the_device_is_held(root: Path) -> None:
    train(3)

    def peak() -> tuple[int, int]:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train(20)
        return torch.cuda.max_memory_allocated() - before, torch.cuda.memory_allocated() - before

    plain = peak()
    with tachograph.autolog("torch", system=False):
        recorded = peak()
    assert recorded[0] <= plain[0] + 4096
    assert recorded[1] <= plain[1]
    assert any("let go of it" in note.text for note in only(root).notes)


def test_the_same_weights_to_the_bit(root: Path) -> None:
    plain = train(20)
    with tachograph.autolog("torch", system=False):
        recorded = train(20)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), recorded.parameters(), strict=True))


def test_a_model_that_lives_is_kept(root: Path) -> None:
    with tachograph.autolog("torch", system=False):
        model = train(5)
    weights = only(root).artifact("model").load()
    expected = model.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name].cpu(), expected[name].cpu()) for name in weights)


def test_mixed_precision(root: Path) -> None:
    seen = []
    with tachograph.autolog("torch", system=False):
        model = big()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
        inputs = torch.randn(64, 512, device="cuda")
        for _ in range(5):
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype=torch.float16):
                loss = (model(inputs) - inputs).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            seen.append(loss.detach())
    run = only(root)
    assert run.history("loss").values.tolist() == [loss.item() for loss in seen]
    assert run.metrics["amp_scale"] == 1024.0


def test_a_graph_may_be_captured(root: Path) -> None:
    with tachograph.autolog("torch", system=False):
        model = big()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        inputs = torch.randn(64, 512, device="cuda")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                optimizer.zero_grad(set_to_none=True)
                loss = model(inputs).square().mean()
                loss.backward()
                optimizer.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            loss = model(inputs).square().mean()
            loss.backward()
            optimizer.step()
        graph.replay()
        before = loss.item()
        for _ in range(5):
            graph.replay()
        assert loss.item() < before
    assert len(only(root).history("loss").values) == 3


def test_the_devices_load_is_sampled(root: Path) -> None:
    with tachograph.autolog("torch", system=0.5):
        train(2000)
    run = only(root)
    names = set(run.system)
    assert any("gpu" in name for name in names), names
    assert "NVIDIA" in str(run.environment["gpus"])
