"""Loops that are left in the middle and gone on with: generators, coroutines, threads that run the same code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.integrations.torch.conftest import Recorded, curve, steps
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tachograph


def weigh(value: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model whose loss is always ``value``, and what trains it."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, value)
    return net, torch.optim.SGD(net.parameters(), 0.0)


def suspended(value: float, is_left_between: bool) -> Iterator[None]:
    net, o = weigh(value)
    for _ in range(3):
        loss = net(torch.ones(1, 1)).sum()
        loss.backward()
        if is_left_between:
            yield
        o.step()
        yield


def each_has_its_curve(run: Any) -> None:
    assert curve(run, "loss") == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert curve(run, "loss/o.2") == [(0, 5.0), (1, 5.0), (2, 5.0)]
    assert steps(run, "lr") == steps(run, "lr/o.2") == [0, 1, 2]
    assert not run.notes


@pytest.mark.parametrize("is_left_between", [False, True])
def test_generators_that_train_in_turn(recorded: Recorded, is_left_between: bool) -> None:
    for _ in zip(suspended(1.0, is_left_between), suspended(5.0, is_left_between), strict=True):
        pass
    each_has_its_curve(recorded())


def test_coroutines_that_train_in_turn(recorded: Recorded) -> None:
    async def train(value: float) -> None:
        net, o = weigh(value)
        for _ in range(3):
            loss = net(torch.ones(1, 1)).sum()
            loss.backward()
            await asyncio.sleep(0)
            o.step()

    async def main() -> None:
        with tachograph.start_run():
            await asyncio.gather(train(1.0), train(5.0))

    asyncio.run(main())
    each_has_its_curve(recorded())


def test_coroutines_that_have_their_backward_in_a_function(recorded: Recorded) -> None:
    def look(net: nn.Module) -> None:
        loss = net(torch.ones(1, 1)).sum()
        loss.backward()

    async def train(value: float) -> None:
        net, o = weigh(value)
        for _ in range(3):
            look(net)
            await asyncio.sleep(0)
            o.step()

    async def main() -> None:
        with tachograph.start_run():
            await asyncio.gather(train(1.0), train(5.0))

    asyncio.run(main())
    each_has_its_curve(recorded())


def test_coroutines_with_their_own_data(recorded: Recorded) -> None:
    async def train(value: float, epochs: int, count: int) -> None:
        net, o = weigh(value)
        loader = DataLoader(TensorDataset(torch.ones(count, 1)), batch_size=1)
        for _ in range(epochs):
            for (batch,) in loader:
                loss = net(batch).sum()
                await asyncio.sleep(0)
                loss.backward()
                await asyncio.sleep(0)
                o.step()

    async def main() -> None:
        with tachograph.start_run():
            await asyncio.gather(train(1.0, 3, 2), train(5.0, 2, 3))

    asyncio.run(main())
    run = recorded()
    assert curve(run, "loss") == [(step, 1.0) for step in range(6)]
    assert curve(run, "loss/o.2") == [(step, 5.0) for step in range(6)]
    assert curve(run, "epoch") == [(0, 0.0), (2, 1.0), (4, 2.0)]
    assert curve(run, "epoch/o.2") == [(0, 0.0), (3, 1.0)]


def test_a_step_takes_what_generators_have_worked_out_for_it(recorded: Recorded) -> None:
    net, o = weigh(3.0)

    def passes() -> Iterator[None]:
        for factor in (1.0, 2.0):
            loss = factor * net(torch.ones(1, 1)).sum()
            loss.backward()
            yield

    for _ in range(2):
        for _ in passes():
            pass
        o.step()
    assert curve(recorded(), "loss") == [(0, 4.5), (1, 4.5)]


def test_an_optimizer_of_an_ended_generator_is_not_taken_for_a_suspended_one(recorded: Recorded) -> None:
    kept: set[Any] = set()  # in which nobody looks

    def fold(value: float) -> Iterator[None]:
        net, o = weigh(value)
        kept.add(o)
        for _ in range(2):
            loss = net(torch.ones(1, 1)).sum()
            loss.backward()
            o.step()
            yield

    for value in (1.0, 5.0):
        for _ in fold(value):
            pass
    assert len(kept) == 2
    run = recorded()
    assert curve(run, "loss") == [(0, 1.0), (1, 1.0), (2, 5.0), (3, 5.0)]


def test_threads_that_train_by_the_same_code(recorded: Recorded) -> None:
    turn = threading.Barrier(2)

    def work(value: float) -> None:
        for _ in suspended(value, False):
            turn.wait()

    with tachograph.start_run() as run:
        threads = [threading.Thread(target=work, args=(value,)) for value in (1.0, 5.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    run = tachograph.open_store().run(run.id)
    found = {tuple(curve(run, name)) for name in ("loss", "loss/o.2")}
    assert found == {tuple((step, value) for step in range(3)) for value in (1.0, 5.0)}
    assert not run.notes


def test_what_is_left_at_the_end_of_two_that_were_suspended(recorded: Recorded) -> None:
    def half(value: float) -> Iterator[None]:
        net, o = weigh(value)
        for _ in range(3):
            loss = net(torch.ones(1, 1)).sum()
            loss.backward()
            yield
            o.step()

    both = half(1.0), half(5.0)
    for _ in range(2):
        for one in both:
            next(one)
    run = recorded()
    values = [value for name in run.metrics if "loss" in name for _, value in curve(run, name)]
    assert sorted(values) == [1.0, 1.0, 5.0, 5.0]
