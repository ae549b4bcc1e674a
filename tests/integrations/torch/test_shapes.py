"""Plain loops of any shape: several optimizers, phases, agents, threads, wrapped optimizers, odd losses and loaders."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.torch.conftest import Recorded, curve, steps
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tachograph
from tachograph_frameworks.torch.user_variables import Sight


def no_step_comes_twice(run: Any) -> None:
    for name in run.metrics:
        found = steps(run, name)
        assert len(found) == len(set(found)), name


def small(lr: float = 0.1, width: int = 2) -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Linear(width, 1)
    return net, torch.optim.SGD(net.parameters(), lr)


# ---- what is recorded under a variable's name is that variable's value -----------------------------------------------


def test_the_value_is_the_variables_not_the_expressions(recorded: Recorded) -> None:
    net = nn.Linear(1, 1, bias=False)
    opt = torch.optim.SGD(net.parameters(), 0.0)
    nn.init.constant_(net.weight, 2.0)
    x = torch.ones(1, 1)

    def base() -> torch.Tensor:
        return net(x).sum()

    class Config:
        weight = 10.0

    elbo = -base()
    (-elbo).backward()
    opt.step()
    beta, kl = 10.0, base()
    (beta * kl).backward()
    opt.step()
    recon = base()
    (Config.weight * recon).backward()
    opt.step()
    lambda_gp, gp = torch.tensor(10.0), base()
    (lambda_gp * gp / 2).backward()
    opt.step()
    loss = base()
    (loss / 4).backward()
    opt.step()
    (total := base() * 3).backward()
    opt.step()
    (base() * 5).backward()
    opt.step()
    assert total is not None
    run = recorded()
    found = {name: run.history(name).values.tolist() for name in run.metrics if name != "lr"}
    expected = {"elbo": [-2], "kl": [2], "recon": [2], "gp": [2], "loss": [2], "total": [6], "unnamed_loss": [10]}
    assert found == expected


def test_an_expression_without_a_variable_is_not_mixed_with_one_that_comes_later(recorded: Recorded) -> None:
    net, opt = small()
    for _ in range(2):
        net(torch.ones(1, 2)).sum().backward()
        opt.step()
    for _ in range(2):
        loss = net(torch.ones(1, 2)).sum()
        loss.backward()
        opt.step()
        net(torch.ones(1, 2)).abs().sum().backward()
        opt.step()
    run = recorded()
    assert steps(run, "loss") == [0, 1, 2, 4]
    assert steps(run, "unnamed_loss") == [3, 5]


def test_a_learning_rate_that_is_a_tensor(recorded: Recorded) -> None:
    net = nn.Linear(3, 1)
    opt = torch.optim.Adam(net.parameters(), lr=torch.tensor(0.1), foreach=False)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)
    for _ in range(5):
        net(torch.ones(2, 3)).sum().backward()
        opt.step()
        schedule.step()
    assert recorded().history("lr").values.tolist() == pytest.approx([0.1, 0.05, 0.025, 0.0125, 0.00625])


def test_a_tensor_class_that_calls_torch_again_records_once(recorded: Recorded) -> None:
    class Named(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return super().__torch_function__(function, types, args, kwargs or {})

    net, opt = small(width=4)
    for _ in range(6):
        total = net(torch.ones(8, 4)).pow(2).mean().as_subclass(Named)
        total.backward()
        opt.step()
    run = recorded()
    assert set(run.metrics) == {"total", "lr"}
    assert steps(run, "total") == list(range(6))


def test_a_scaler_that_is_switched_off(recorded: Recorded) -> None:
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    net, opt = small(width=4)
    for _ in range(3):
        loss = net(torch.ones(8, 4)).mean()
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
    run = recorded()
    assert steps(run, "loss") == [0, 1, 2]
    assert run.notes == []


def test_the_loss_of_a_step_that_did_not_come(recorded: Recorded) -> None:
    net, opt = small()
    seen = []
    for number in range(6):
        loss = net(torch.full((1, 2), float(number))).sum()
        (loss / 4).backward()
        seen.append(loss.item())
        if number % 4 == 3:
            opt.step()
    run = recorded()
    assert run.history("loss").values.tolist() == pytest.approx([sum(seen[:4]) / 4, sum(seen[4:]) / 2])
    assert (steps(run, "loss"), steps(run, "lr")) == ([0, 1], [0])


# ---- whose curves, params and models they are ------------------------------------------------------------------------


leftover = nn.Linear(2, 1)
leftover_opt = torch.optim.Adam(leftover.parameters(), 0.5)


def test_what_makes_no_step_is_not_the_runs(recorded: Recorded) -> None:
    net, sgd = small()
    for _ in range(3):
        loss = net(torch.ones(4, 2)).pow(2).mean()
        loss.backward()
        sgd.step()
    run = recorded()
    assert (run.params["optimizer.class"], run.params["optimizer.lr"]) == ("SGD", 0.1)
    assert set(run.metrics) == {"loss", "lr"}
    [kept] = [artifact for artifact in run.artifacts if artifact.kind == "model"]
    assert torch.equal(kept.load()["weight"], net.weight)


class Agent:
    def __init__(self, lr: float) -> None:
        self.net, self.opt = small(lr)

    def learn(self, value: float) -> None:
        loss = self.net(torch.ones(4, 2)).mean() * 0 + value
        loss.backward()
        self.opt.step()


def test_two_agents(recorded: Recorded) -> None:
    a, b = Agent(0.1), Agent(0.001)
    for _ in range(4):
        a.learn(1.0)
        b.learn(2.0)
    run = recorded()
    assert curve(run, "a.loss") == [(step, 1.0) for step in range(4)]
    assert curve(run, "b.loss") == [(step, 2.0) for step in range(4)]
    assert (run.params["a.opt.lr"], run.params["b.opt.lr"]) == (0.1, 0.001)
    assert {"lr/a.opt", "lr/b.opt"} <= set(run.metrics)
    assert {artifact.name for artifact in run.artifacts} >= {"a.net", "b.net"}
    assert run.notes == []


def test_agents_in_a_list(recorded: Recorded) -> None:
    agents = [Agent(0.1), Agent(0.2), Agent(0.3)]
    for _ in range(2):
        for number, agent in enumerate(agents):
            agent.learn(float(number))
    run = recorded()
    for number in range(3):
        assert curve(run, f"agents.{number}.loss") == [(0, float(number)), (1, float(number))]
        assert run.params[f"agents.{number}.opt.lr"] == pytest.approx(0.1 * (number + 1))


def test_a_loops_own_variable_names_no_optimizer(recorded: Recorded) -> None:
    opts = [torch.optim.SGD(small()[0].parameters(), 0.1 * (number + 1)) for number in range(2)]
    by_name = {"gen": small()[1], "disc": small()[1]}
    for _ in range(3):
        for o in opts:
            o.step()
        for _name, each in by_name.items():
            each.step()
    run = recorded()
    names = [name for name in run.metrics if name.startswith("lr/")]
    assert sorted(names) == ["lr/by_name.disc", "lr/by_name.gen", "lr/opts.0", "lr/opts.1"]
    assert steps(run, "lr/opts.0") == [0, 1, 2]


def test_a_function_that_trains_one_after_another(recorded: Recorded) -> None:
    def train(model: nn.Module, optimizer: torch.optim.Optimizer, value: float) -> None:
        loss = model(torch.ones(2, 2)).mean() * 0 + value
        loss.backward()
        optimizer.step()

    (gen, opt_g), (disc, opt_d) = small(), small(0.2)
    for _ in range(3):
        train(gen, opt_g, 1.0)
        train(disc, opt_d, 2.0)
    run = recorded()
    assert curve(run, "loss") == [(step, 1.0) for step in range(3)]
    assert curve(run, "loss/opt_d") == [(step, 2.0) for step in range(3)]
    assert {"lr/opt_g", "lr/opt_d"} <= set(run.metrics)


def test_phases_with_other_optimizers_and_data(recorded: Recorded) -> None:
    X, encoder = torch.randn(8, 3), nn.Linear(3, 1)
    pre = DataLoader(TensorDataset(X), batch_size=4)
    opt_pre = torch.optim.Adam(encoder.parameters(), 0.01)
    for _ in range(3):
        for (x,) in pre:
            loss = encoder(x).pow(2).mean()
            loss.backward()
            opt_pre.step()
    fine = DataLoader(TensorDataset(X, X[:, :1]), batch_size=2)
    opt_fine = torch.optim.SGD(encoder.parameters(), 0.1)
    for _ in range(2):
        for x, y in fine:
            loss = (encoder(x) - y).pow(2).mean()
            loss.backward()
            opt_fine.step()
    run = recorded()
    no_step_comes_twice(run)
    assert (steps(run, "loss"), steps(run, "loss/opt_fine")) == (list(range(6)), list(range(8)))
    assert curve(run, "epoch") == [(0, 0.0), (2, 1.0), (4, 2.0)]
    assert curve(run, "epoch/opt_fine") == [(0, 0.0), (4, 1.0)]
    assert steps(run, "samples_per_second/opt_fine") == [3, 7]
    assert [dataset.name for dataset in run.datasets] == ["pre", "fine"]


def test_the_gradients_norms_of_two_optimizers(recorded: Recorded) -> None:
    (d, opt_d), (g, opt_g) = small(), small()
    norms: dict[str, list[float]] = {"opt_d": [], "opt_g": []}
    for _ in range(3):
        loss_d = d(torch.ones(2, 2)).mean()
        loss_d.backward()
        norms["opt_d"].append(nn.utils.clip_grad_norm_(d.parameters(), 1.0).item())
        opt_d.step()
        loss_g = g(torch.ones(2, 2)).mean() * 2
        loss_g.backward()
        norms["opt_g"].append(nn.utils.clip_grad_norm_(g.parameters(), 1.0).item())
        opt_g.step()
    run = recorded()
    for name, values in norms.items():
        assert run.history(f"grad_norm/{name}").values.tolist() == pytest.approx(values)
    no_step_comes_twice(run)


def test_two_parts_that_are_clipped_apart(recorded: Recorded) -> None:
    encoder, decoder = nn.Linear(2, 2), nn.Linear(2, 1)
    opt = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], 0.1)
    for _ in range(2):
        loss = decoder(encoder(torch.ones(2, 2))).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        opt.step()
    assert {"grad_norm/encoder", "grad_norm/decoder"} <= set(recorded().metrics)


def test_two_parts_that_are_clipped_before_both_their_optimizers_step(recorded: Recorded) -> None:
    (encoder, opt_e), (decoder, opt_d) = small(width=1), small(width=1)
    norms = []
    for _ in range(2):
        loss = decoder(encoder(torch.ones(2, 1))).mean()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(encoder.parameters(), 1.0).item())
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        opt_e.step()
        opt_d.step()
    run = recorded()
    assert {name for name in run.metrics if "norm" in name} == {"grad_norm/encoder", "grad_norm/decoder"}
    assert run.history("grad_norm/encoder").values.tolist() == pytest.approx(norms)


def test_a_group_that_is_added_later(recorded: Recorded) -> None:
    base, head = nn.Linear(2, 2), nn.Linear(2, 1)
    opt = torch.optim.SGD(head.parameters(), lr=0.1)
    for step in range(5):
        if step == 3:
            opt.add_param_group({"params": base.parameters(), "lr": 0.001})
        loss = head(base(torch.ones(2, 2))).mean()
        loss.backward()
        opt.step()
    run = recorded()
    assert curve(run, "lr") == [(step, 0.1) for step in range(5)]
    assert curve(run, "lr/1") == [(3, 0.001), (4, 0.001)]
    assert run.params["optimizer.group.1.lr"] == 0.001


class Around(torch.optim.Optimizer):
    """As SAM is: the inner optimizer makes the steps, by a method that is not called ``step``."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.inner = torch.optim.SGD(self.param_groups, lr=lr)
        self.param_groups = self.inner.param_groups

    def second(self) -> None:
        self.inner.step()
        self.zero_grad()


class Lookahead(Around):
    """Its own ``step`` calls the inner one's: both are heard, and are one."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()


@pytest.mark.parametrize("kind", [Around, Lookahead])
def test_an_optimizer_around_an_optimizer(recorded: Recorded, kind: type[Around]) -> None:
    net = nn.Linear(2, 1)
    opt = kind(net.parameters(), 0.1)
    seen = []
    for _ in range(4):
        loss = net(torch.ones(4, 2)).pow(2).mean()
        loss.backward()
        seen.append(round(loss.item(), 6))
        opt.step() if kind is Lookahead else opt.second()
    run = recorded()
    assert run.params["optimizer.class"] == kind.__name__
    assert set(run.metrics) == {"loss", "lr"}
    assert [value for _, value in curve(run, "loss")] == seen


@pytest.mark.slow
def test_an_inner_optimizers_step_leaves_the_loss_to_the_outer_one(recorded: Recorded) -> None:
    """Also at steps that are measured, which is done twice a second and takes another way."""
    net = nn.Linear(2, 1)
    opt = Lookahead(net.parameters(), 0.1)
    seen = []
    for number in range(24):
        loss = net(torch.ones(4, 2)).pow(2).mean() + number
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0) if number % 2 else None
        seen.append((number, round(loss.item(), 6)))
        opt.step()
        time.sleep(0.06)
    run = recorded()
    assert curve(run, "loss") == seen
    assert steps(run, "grad_norm") == list(range(1, 24, 2))


def test_new_optimizers_in_an_inner_loop(recorded: Recorded) -> None:
    meta = nn.Linear(2, 1)
    for _ in range(20):
        fast = copy.deepcopy(meta)
        inner = torch.optim.SGD(fast.parameters(), 0.01)
        for _ in range(3):
            loss = fast(torch.ones(2, 2)).pow(2).mean()
            loss.backward()
            inner.step()
    run = recorded()
    assert steps(run, "loss") == list(range(60))
    assert len(run.notes) == 1
    [kept] = [artifact for artifact in run.artifacts if artifact.kind == "model"]
    assert torch.equal(kept.load()["weight"], fast.weight)


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often it is looked around in the user's variables: one item for each."""
    looks: list[int] = []
    search = Sight._search
    monkeypatch.setattr(Sight, "_search", lambda self: looks.append(1) or search(self))
    return looks


def test_an_optimizer_for_each_parameter_that_steps_within_backward(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
    optimizers = {parameter: torch.optim.SGD([parameter], 0.1) for parameter in net.parameters()}

    def step(parameter: nn.Parameter) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in optimizers:
        parameter.register_post_accumulate_grad_hook(step)
    values = []
    looks = count_looks(monkeypatch)
    for _ in range(6):
        loss = net(torch.ones(2, 1)).pow(2).mean()
        values.append((len(values), round(loss.item(), 6)))
        loss.backward()
        if len(values) == 1:
            assert looks
            looks.clear()
    assert not looks
    run = recorded()
    assert curve(run, "loss") == values
    assert sum(len(steps(run, name)) for name in run.metrics if name.startswith("lr")) == 6 * 4


def test_optimizers_that_one_variable_holds_in_turn(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = {(number,): small() for number in range(3)}
    looks = count_looks(monkeypatch)
    for turn in range(9):
        net, opt = hidden[turn % 3,]
        net(torch.ones(2, 2)).pow(2).mean().backward()
        opt.step()
        if turn == 3:
            assert looks
            looks.clear()
    assert not looks
    run = recorded()
    assert steps(run, "loss") == steps(run, "lr") == list(range(9))


def test_an_object_that_raises_is_as_if_it_were_not_there(recorded: Recorded) -> None:
    class Gone:
        pass

    class Raising:
        @property
        def __class__(self) -> Any:
            raise RuntimeError("out of context")

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("out of context")

    gone = Gone()
    back, raising = weakref.proxy(gone), Raising()
    del gone
    net, opt = small()
    for _ in range(3):
        loss = net(torch.ones(4, 2)).mean()
        loss.backward()
        opt.step()
    assert back is not raising
    run = recorded()
    assert run.params["optimizer.class"] == "SGD"
    assert {artifact.name for artifact in run.artifacts} == {"model", "model_summary"}
    assert run.notes == []


# ---- data loaders ----------------------------------------------------------------------------------------------------


def test_two_loaders_that_are_read_together(recorded: Recorded) -> None:
    labeled = DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=2)
    unlabeled = DataLoader(TensorDataset(torch.randn(16, 2)), batch_size=4)
    net, opt = small()
    for _ in range(2):
        for (x,), (u,) in zip(labeled, unlabeled, strict=True):
            loss = net(x).mean() + net(u).mean()
            loss.backward()
            opt.step()
    run = recorded()
    no_step_comes_twice(run)
    assert curve(run, "epoch") == curve(run, "epoch/unlabeled") == [(0, 0.0), (4, 1.0)]
    assert {dataset.name for dataset in run.datasets} == {"labeled", "unlabeled"}


def test_a_look_at_the_data_before_training_is_no_epoch(recorded: Recorded) -> None:
    loader = DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=2)
    mean = sum(x.mean() for (x,) in loader)  # with gradients switched on
    net, opt = small()
    for (x,) in loader:
        loss = net(x - mean).mean()
        loss.backward()
        opt.step()
    run = recorded()
    assert curve(run, "epoch") == [(0, 0.0)]


def test_a_loader_that_is_made_anew_for_each_epoch(recorded: Recorded) -> None:
    net, opt = small()
    for _ in range(3):
        for (x,) in DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=2):
            loss = net(x).mean()
            loss.backward()
            opt.step()
    assert curve(recorded(), "epoch") == [(0, 0.0), (4, 1.0), (8, 2.0)]


def test_a_library_that_fetches_one_batch_ahead(recorded: Recorded) -> None:
    loader = DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=2)

    def ahead() -> Iterator[Any]:
        batches = iter(loader)
        batch = next(batches)
        for following in batches:
            yield batch
            batch = following
        yield batch

    net, opt = small()
    for _ in range(2):
        for (x,) in ahead():
            loss = net(x).mean()
            loss.backward()
            opt.step()
    assert steps(recorded(), "train_seconds") == [3, 7]


def test_a_loader_whose_batches_are_made_by_a_sampler_of_batches(recorded: Recorded) -> None:
    data = TensorDataset(torch.randn(8, 2))
    batches = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(data), batch_size=4, drop_last=False)
    loader = DataLoader(data, batch_sampler=batches)
    net, opt = small()
    for (x,) in loader:
        loss = net(x).mean()
        loss.backward()
        opt.step()
    run = recorded()
    assert (run.params["loader.batch_size"], run.params["loader.shuffle"]) == (4, True)


# ---- threads and processes -------------------------------------------------------------------------------------------


def train(value: float, count: int = 100) -> None:
    net, opt = small()
    for _ in range(count):
        loss = net(torch.ones(4, 2)).mean() * 0 + value
        loss.backward()
        opt.step()


def test_loops_in_threads_with_runs_of_their_own(autolog: Any, root: Path) -> None:
    def job(number: int) -> None:
        with tachograph.start_run(f"job-{number}"):
            train(float(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(job, range(4)))
    store = tachograph.open_store(root)
    for number in range(4):
        assert curve(store.run(f"job-{number}"), "loss") == [(step, float(number)) for step in range(100)]


def test_loops_in_threads_without_a_run(autolog: Any, root: Path) -> None:
    barrier = threading.Barrier(3)

    def job(number: int) -> None:
        barrier.wait()
        train(float(number))

    threads = [threading.Thread(target=job, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    autolog.undo()
    runs = tachograph.open_store(root).runs()
    assert sorted(curve(run, "loss") for run in runs) == [
        [(step, float(number)) for step in range(100)] for number in range(3)
    ]
    assert {run.status for run in runs} == {"finished"}


def test_a_run_ends_with_the_thread_that_it_was_opened_in(autolog: Any, root: Path) -> None:
    thread = threading.Thread(target=train, args=(1.0,))
    thread.start()
    thread.join()
    until = time.monotonic() + 20
    while tachograph.open_store(root).runs()[0].status == "running" and time.monotonic() < until:
        time.sleep(0.05)
    [run] = tachograph.open_store(root).runs()
    assert run.status == "finished"


def test_one_training_whose_steps_are_made_by_other_threads(recorded: Recorded) -> None:
    net, opt = small()

    def step() -> None:
        loss = net(torch.ones(4, 2)).mean()
        loss.backward()
        opt.step()

    async def main() -> None:
        for _ in range(5):
            await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(3)))
            await asyncio.to_thread(step)

    asyncio.run(main())
    assert steps(recorded(), "loss") == list(range(5))


def lines(*body: str) -> str:
    return "\n".join(("import os, signal, time, torch, tachograph", "tachograph.autolog('torch', system=False)", *body))


BY_HAND = lines(
    "w = torch.zeros(3, requires_grad=True)",
    "x = torch.randn(8, 3)",
    "for step in range(30):",
    "    loss = (x @ w - 1).pow(2).mean()",
    "    loss.backward()",
    "    with torch.no_grad():",
    "        w -= 0.05 * w.grad",
    "        w.grad.zero_()",
    "    time.sleep(0.03)",
)


@pytest.mark.slow
def test_a_loop_without_an_optimizer_writes_in_time(root: Path, tmp_path: Path) -> None:
    code = BY_HAND + "\nos.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TACHOGRAPH_DIR": str(root)}, check=False)
    assert done.returncode == -signal.SIGKILL
    [run] = tachograph.open_store(root).runs()
    assert run.status == "crashed"
    assert len(steps(run, "loss")) >= 25


def test_an_optimizer_that_comes_after_steps_by_hand_goes_on(recorded: Recorded) -> None:
    weight = torch.zeros(3, requires_grad=True)

    def passes() -> Iterator[torch.Tensor]:
        for _ in range(3):
            loss = (weight - 1).square().mean()
            loss.backward()
            yield loss

    for _ in passes():
        pass
    opt = torch.optim.SGD([weight], 0.1)
    for _ in passes():
        opt.step()
    run = recorded()
    assert steps(run, "loss") == list(range(6))
    assert steps(run, "lr") == [3, 4, 5]


# ---- every way out keeps the points ----------------------------------------------------------------------------------


def test_steps_by_hand_after_those_of_an_optimizer(recorded: Recorded) -> None:
    net, opt = small()
    for _ in range(3):
        loss = net(torch.ones(1, 2)).sum()
        loss.backward()
        opt.step()
    weight = torch.ones(2, requires_grad=True)
    seen = []
    for _ in range(10):
        mine = (weight.sum() - 3).square()
        mine.backward()
        seen.append(round(mine.item(), 6))
        with torch.no_grad():
            weight -= 0.1 * weight.grad
        weight.grad = None
    run = recorded()
    assert curve(run, "mine") == list(enumerate(seen))
    assert steps(run, "loss") == [0, 1, 2]


def ways_out() -> dict[str, Callable[[Any], object]]:
    def suppressed(run: Any) -> None:
        with tachograph.suppress():
            train(5.0, 3)

    def forked(run: Any) -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def other_run(run: Any) -> None:
        with run.child("other"):
            train(5.0, 3)

    return {
        "suppress": suppressed,
        "fork": forked,
        "another run": other_run,
        "the user logs the same name": lambda run: run.log({"loss": 9.0}, step=1000),
        "nothing": lambda run: None,
    }


@pytest.mark.parametrize("way", ways_out())
def test_every_way_out_keeps_the_points(autolog: Any, root: Path, way: str) -> None:
    net, opt = small()
    with tachograph.start_run("mine") as run:
        for step in range(20):
            loss = net(torch.ones(4, 2)).mean() * 0 + step
            loss.backward()
            opt.step()
            if step == 10:
                ways_out()[way](run)
    read = tachograph.open_store(root).run("mine")
    expected = range(11) if "user" in way else range(20)
    assert steps(read, "loss")[: len(expected)] == list(expected)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["raise ValueError", "exit()", "os.kill(os.getpid(), signal.SIGINT)"])
def test_an_end_in_the_middle_keeps_the_points(root: Path, way: str) -> None:
    code = lines(
        "net = torch.nn.Linear(2, 1); opt = torch.optim.SGD(net.parameters(), 0.1)",
        "for step in range(20):",
        "    loss = net(torch.ones(4, 2)).mean()",
        "    loss.backward()",
        "    if step == 10:",
        f"        {way}",
        "    opt.step()",
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TACHOGRAPH_DIR": str(root)}, capture_output=True)
    [run] = tachograph.open_store(root).runs()
    assert set(range(10)) <= set(steps(run, "loss"))


# ---- files -----------------------------------------------------------------------------------------------------------


def test_loaded_data_is_not_what_a_training_was_resumed_from(recorded: Recorded, tmp_path: Path) -> None:
    from .test_files import links

    torch.save({"x": torch.zeros(3), "y": torch.zeros(3)}, tmp_path / "data.pt")
    net, opt = small()
    torch.save({"net": net.state_dict(), "epoch": 3}, tmp_path / "start.pt")
    data = torch.load(tmp_path / "data.pt")
    net.load_state_dict(dict(torch.load(tmp_path / "start.pt")["net"]))
    loss = net(torch.ones(4, 2)).mean() + data["x"].sum()
    loss.backward()
    opt.step()
    [link] = links(recorded())
    assert link.meta["path"] == str(tmp_path / "start.pt")
    assert link.target.startswith("sha256:")


def test_a_training_that_goes_on_after_its_run_was_finished_elsewhere(autolog: Any, root: Path) -> None:
    """The run is ended by another thread between two steps: the loss of the next one is its new run's."""
    net, opt = small()
    ended = threading.Event()

    def end(run: Any) -> None:
        run.finish()
        ended.set()

    first = tachograph.start_run("first")
    for step in range(6):
        loss = net(torch.ones(4, 2)).mean() * 0 + step
        loss.backward()
        opt.step()
        if step == 2:
            threading.Thread(target=end, args=(first,)).start()
            ended.wait(30)
    autolog.undo()
    store = tachograph.open_store(root)
    [second] = [run for run in store.runs() if run.name != "first"]
    assert curve(store.run("first"), "loss") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert curve(second, "loss") == [(0, 3.0), (1, 4.0), (2, 5.0)]


@pytest.mark.slow
def test_a_spawned_training_beside_its_parents_is_a_run_of_its_own(root: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        lines(
            "import multiprocessing",
            "def train(count):",
            "    net = torch.nn.Linear(2, 1); opt = torch.optim.SGD(net.parameters(), 0.1)",
            "    for _ in range(count):",
            "        loss = net(torch.ones(4, 2)).mean(); loss.backward(); opt.step()",
            "if __name__ == '__main__':",
            "    train(3)",
            "    child = multiprocessing.get_context('spawn').Process(target=train, args=(5,))",
            "    child.start(); child.join()",
        )
    )
    done = subprocess.run(
        [sys.executable, str(program)], env={**os.environ, "TACHOGRAPH_DIR": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [parent] = tachograph.open_store(root).runs()
    [child] = parent.children
    assert (steps(parent, "loss"), steps(child, "loss")) == ([0, 1, 2], [0, 1, 2, 3, 4])
