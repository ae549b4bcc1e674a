"""A plain loop with no line of ours in it: what is recorded, under which names, at which steps."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import tachograph
from tachograph import events, journal
from tachograph.hooks import plugins
from tachograph_frameworks.torch import watching

from .conftest import network

Recorded = Callable[[], Any]


def test_loss_and_learning_rate_by_step(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    seen, rates = [], []
    for _ in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = mse_loss(model(inputs), targets)
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            seen.append(loss.item())
        scheduler.step()
    run = recorded()
    assert run.status == "finished"
    assert run.history("loss").values.tolist() == seen
    assert run.history("loss").steps.tolist() == list(range(12))
    assert run.history("lr").values.tolist() == rates
    assert run.history("epoch").values.tolist() == [0, 1, 2]
    assert run.history("epoch").steps.tolist() == [0, 4, 8]
    assert len(run.history("samples_per_second").values) == 3
    assert set(run.metrics) == {"loss", "lr", "epoch", "samples_per_second", "data_seconds", "train_seconds"}


def test_what_is_trained_and_how(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01, betas=(0.8, 0.9))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    for inputs, targets in loader:
        mse_loss(model(inputs), targets).backward()
        optimizer.step()
        scheduler.step()
    run = recorded()
    assert run.params["model.class"] == "torch.nn.modules.container.Sequential"
    assert (run.params["model.parameters"], run.params["model.trainable_parameters"]) == (21, 9)
    assert run.params["optimizer.class"] == "Adam"
    assert (run.params["optimizer.lr"], run.params["optimizer.betas"]) == (0.01, [0.8, 0.9])
    assert (run.params["scheduler.class"], run.params["scheduler.T_max"]) == ("CosineAnnealingLR", 7)
    assert (run.params["loader.batch_size"], run.params["loader.rows"]) == (10, 40)
    [dataset] = run.datasets
    assert (dataset.name, dataset.role, dataset.rows, dataset.columns) == ("loader", "train", 40, 3)
    summary = run.artifact("model_summary").load()
    assert "in_features=3, out_features=4" in summary
    assert "21 parameters, 9 of them trainable" in summary
    assert run.artifact("model").meta["signature"]["inputs"] == {"data": {"shape": [None, 3], "dtype": "float32"}}


def test_accumulated_gradients_give_the_mean_of_a_step(recorded: Recorded, data: TensorDataset) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[float] = []
    for number, (inputs, targets) in enumerate(DataLoader(data, batch_size=5)):
        loss = mse_loss(model(inputs), targets) / 4
        loss.backward()
        seen.append(loss.item())
        if number % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    run = recorded()
    assert run.history("loss").values == pytest.approx([np.mean(seen[:4]), np.mean(seen[4:])])
    assert run.history("loss").steps.tolist() == [0, 1]


def test_two_losses_and_two_optimizers(recorded: Recorded, loader: DataLoader[Any]) -> None:
    generator, critic = nn.Linear(3, 1), nn.Linear(1, 1)
    opt_g = torch.optim.Adam(generator.parameters(), lr=0.01)
    opt_d = torch.optim.SGD([{"params": [critic.weight], "lr": 0.2}, {"params": [critic.bias], "name": "bias"}], lr=0.1)
    for inputs, targets in loader:
        opt_d.zero_grad()
        loss_d = critic(generator(inputs).detach()).mean() - critic(targets).mean()
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = -critic(generator(inputs)).mean()
        loss_g.backward()
        opt_g.step()
    run = recorded()
    assert {"loss_d", "loss_g", "lr/opt_g", "lr/opt_d/0", "lr/opt_d/bias"} <= set(run.metrics)
    assert run.history("loss_d").steps.tolist() == run.history("loss_g").steps.tolist() == [0, 1, 2, 3]
    assert run.params["opt_g.class"] == "Adam"
    assert run.params["opt_d.class"] == "SGD"
    assert run.params["opt_d.group.bias.lr"] == 0.1
    assert run.params["generator.parameters"] == 4
    assert run.params["critic.parameters"] == 2
    assert {artifact.name for artifact in run.artifacts} >= {"generator_summary", "critic_summary"}


class Trainer:
    """As people write them: everything hangs on ``self``."""

    def __init__(self) -> None:
        self.model = network()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.losses: dict[str, torch.Tensor] = {}

    def fit(self, loader: DataLoader[Any]) -> None:
        for batch in loader:
            self.step(batch)

    def step(self, batch: Any) -> None:
        self.losses["main"] = mse_loss(self.model(batch[0]), batch[1])
        self.losses["main"].backward()
        self.optimizer.step()


def test_a_loop_inside_of_an_object(recorded: Recorded, loader: DataLoader[Any]) -> None:
    Trainer().fit(loader)
    run = recorded()
    assert "losses.main" in run.metrics
    assert run.params["model.parameters"] == 21
    assert run.params["optimizer.class"] == "SGD"


def test_names_of_expressions(recorded: Recorded) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    inputs = torch.ones(2, 3)

    def fresh() -> torch.Tensor:
        return model(inputs).square().mean()

    elbo, total, weighted = fresh(), fresh(), fresh()
    (-elbo).backward()
    (total / 2).backward()
    (0.5 * weighted).backward(retain_graph=True)
    several = fresh()
    several.mean().backward()
    torch.mean(several_lines := fresh()).backward()
    fresh().backward()
    one, other = fresh(), fresh()
    (one + other).backward()
    optimizer.step()
    assert several_lines is not None
    run = recorded()
    assert set(run.metrics) == {"elbo", "total", "weighted", "several", "several_lines", "loss", "lr"}


def test_a_closure(recorded: Recorded) -> None:
    model, inputs = network(), torch.randn(8, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    calls = 0

    def closure() -> torch.Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    run = recorded()
    assert calls > 3
    assert run.history("loss").steps.tolist() == [0, 1, 2]


def test_mixed_precision_records_the_loss_itself_and_the_scale(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    seen = []
    for inputs, targets in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = mse_loss(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        seen.append(loss.item())
    run = recorded()
    assert run.history("loss").values.tolist() == seen
    assert run.history("amp_scale").values.tolist() == [1024.0, 2048.0, 2048.0]


def test_a_loss_that_is_changed_in_place_afterwards(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    for inputs, targets in loader:
        loss = mse_loss(model(inputs), targets)
        seen.append(loss.item())
        loss.backward()
        loss.data.zero_()
        optimizer.step()
    assert recorded().history("loss").values.tolist() == seen


def test_clipping_tells_the_gradients_norm(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    for inputs, targets in loader:
        optimizer.zero_grad()
        mse_loss(model(inputs), targets).backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5).item())
        optimizer.step()
    assert recorded().history("grad_norm").values.tolist() == norms


def test_the_gradients_norm_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, root: Path, loader: DataLoader[Any]
) -> None:
    monkeypatch.setenv("TACHOGRAPH_GRADIENT_NORM", "1")
    model, norms = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tachograph.autolog("torch", system=False):
        for inputs, targets in loader:
            optimizer.zero_grad()
            mse_loss(model(inputs), targets).backward()
            norms.append(torch.stack([p.grad.norm() for p in model.parameters()]).norm().item())  # type: ignore[union-attr]
            optimizer.step()
    [run] = tachograph.open_store(root).runs()
    assert run.history("grad_norm").values.tolist() == pytest.approx(norms)


def test_evaluations_are_no_epochs(recorded: Recorded, loader: DataLoader[Any], data: TensorDataset) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    valid = DataLoader(TensorDataset(*data[:20]), batch_size=5)
    next(iter(loader))  # a look at the first batch is no epoch either
    for _ in range(2):
        for inputs, targets in loader:
            mse_loss(model(inputs), targets).backward()
            optimizer.step()
        with torch.no_grad():
            for inputs, _ in valid:
                model(inputs)
    run = recorded()
    assert run.history("epoch").values.tolist() == [0, 1]
    assert len(run.history("eval_seconds").values) == 2
    assert len(run.history("train_seconds").values) == 2


def test_an_evaluation_beside_a_loop_without_a_loader_is_no_epoch(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        mse_loss(model(torch.ones(4, 3)), torch.ones(4, 1)).backward()
        optimizer.step()
        with torch.no_grad():
            for inputs, _targets in loader:
                model(inputs)
    run = recorded()
    assert set(run.metrics) == {"loss", "lr", "eval_seconds"}
    assert run.datasets == []


def test_an_epoch_that_is_left_early(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        for number, (inputs, targets) in enumerate(loader):
            mse_loss(model(inputs), targets).backward()
            optimizer.step()
            if number == 1:
                break
    run = recorded()
    assert run.history("epoch").values.tolist() == [0, 1, 2]
    assert len(run.history("samples_per_second").values) == 3


@pytest.mark.parametrize("persistent", [False, True])
def test_data_loader_workers(recorded: Recorded, data: TensorDataset, persistent: bool) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(data, batch_size=20, num_workers=1, persistent_workers=persistent)
    for _ in range(2):
        for inputs, targets in loader:
            mse_loss(model(inputs), targets).backward()
            optimizer.step()
    run = recorded()
    assert run.history("epoch").values.tolist() == [0, 1]
    assert run.params["loader.num_workers"] == 1


def test_fewer_steps(root: Path, loader: DataLoader[Any]) -> None:
    with tachograph.autolog("torch", system=False, every_n_steps=3):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            for inputs, targets in loader:
                mse_loss(model(inputs), targets).backward()
                optimizer.step()
    [run] = tachograph.open_store(root).runs()
    assert run.history("loss").steps.tolist() == [0, 3, 6]
    assert run.history("epoch").values.tolist() == [0, 1]


@pytest.mark.parametrize("steps", [5, 600])
def test_a_loop_that_moves_the_weights_by_hand(recorded: Recorded, steps: int) -> None:
    weights = torch.zeros(3, requires_grad=True)
    seen = []
    for _ in range(steps):
        output = (weights - 1).square().mean()
        output.backward()
        seen.append(output.item())
        with torch.no_grad():
            weights -= 0.01 * weights.grad
            weights.grad.zero_()
    run = recorded()
    assert run.history("output").steps.tolist() == list(range(steps))
    assert run.history("output").values.tolist() == seen


# ---- whose run it is -------------------------------------------------------------------------------------------------


def loop(loader: DataLoader[Any], steps: int = 4, log: Callable[[int, float], None] | None = None) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, (inputs, targets) in zip(range(steps), loader, strict=False):
        loss = mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if log is not None:
            log(step, loss.item())


def test_the_users_own_run_is_added_to(autolog: Any, root: Path, loader: DataLoader[Any]) -> None:
    with tachograph.start_run("mine") as mine:
        loop(loader)
        assert tachograph.active_run() is mine
    [run] = tachograph.open_store(root).runs()
    assert run.name == "mine"
    assert run.history("loss").steps.tolist() == [0, 1, 2, 3]
    assert {artifact.name for artifact in run.artifacts} == {"model", "model_summary"}


def test_what_the_user_logs_by_name_is_the_users(autolog: Any, root: Path, loader: DataLoader[Any]) -> None:
    with tachograph.start_run() as mine:
        loop(loader, log=lambda step, value: mine.log({"loss": value}, step=step + 100))
    [run] = tachograph.open_store(root).runs()
    assert run.history("loss").steps.tolist() == [100, 101, 102, 103]
    assert run.history("lr").steps.tolist() == [0, 1, 2, 3]


def test_each_fold_has_its_child_run(autolog: Any, root: Path, loader: DataLoader[Any]) -> None:
    with tachograph.start_run("folds") as whole:
        for fold in range(2):
            with whole.child(f"fold-{fold}"):
                loop(loader)
    store = tachograph.open_store(root)
    [parent] = store.runs()
    assert sorted(child.name for child in parent.children) == ["fold-0", "fold-1"]
    for child in parent.children:
        assert child.history("loss").steps.tolist() == [0, 1, 2, 3]
    assert "loss" not in parent.metrics


def test_one_run_for_two_loops_and_the_second_goes_on(recorded: Recorded, loader: DataLoader[Any]) -> None:
    loop(loader)
    loop(loader)
    run = recorded()
    assert run.history("loss").steps.tolist() == list(range(8))


def test_a_fit_of_another_framework_is_its_child(root: Path, loader: DataLoader[Any]) -> None:
    with tachograph.autolog("torch", "sklearn", system=False):
        loop(loader)
        LogisticRegression().fit(np.arange(10.0).reshape(-1, 1), np.arange(10) > 4)
        loop(loader)
    [run] = tachograph.open_store(root).runs()
    assert run.history("loss").steps.tolist() == list(range(8))
    [child] = run.children
    assert child.name == "LogisticRegression"


def test_nothing_is_recorded_where_it_is_suppressed(autolog: Any, root: Path, loader: DataLoader[Any]) -> None:
    with tachograph.suppress():
        loop(loader)
    autolog.undo()
    assert not tachograph.open_store(root).runs()


def test_a_loop_in_a_thread(recorded: Recorded, loader: DataLoader[Any]) -> None:
    thread = threading.Thread(target=loop, args=(loader,))
    thread.start()
    thread.join()
    assert recorded().history("loss").steps.tolist() == [0, 1, 2, 3]


def test_a_forked_child_that_trains(recorded: Recorded, loader: DataLoader[Any]) -> None:
    """Forked while the background thread is making events of what the parent has noted."""
    loop(loader)
    hooks = plugins.installed()["torch"].hooks
    assert hooks is not None
    strand = watching._loops[hooks].strand()
    assert strand is not None
    recording = strand.recording
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with recording._lock:
            taken.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(30)
    child = multiprocessing.get_context("fork").Process(target=loop, args=(loader,))
    child.start()
    done.set()
    thread.join()
    child.join(30)
    assert child.exitcode == 0
    run = recorded()
    assert sorted(run.history("loss").steps.tolist()) == list(range(8))
    assert [writer.status for writer in run.writers] == ["finished", "finished"]


# ---- the rest of torch works as before -------------------------------------------------------------------------------


def test_a_compiled_model_and_a_compiled_step(recorded: Recorded, loader: DataLoader[Any]) -> None:
    model = network()
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = mse_loss(compiled(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    whole = torch.compile(step, backend="eager")
    seen = [whole(inputs, targets).item() for inputs, targets in loader]
    run = recorded()
    assert run.history("loss").values == pytest.approx(seen)
    assert run.params["model.class"] == "torch.nn.modules.container.Sequential"


def test_functional_gradients(recorded: Recorded) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, targets = torch.randn(8, 3), torch.randn(8, 1)

    def compute(params: dict[str, torch.Tensor]) -> torch.Tensor:
        return mse_loss(torch.func.functional_call(model, params, (inputs,)), targets)

    for _ in range(3):
        gradients = torch.func.grad(compute)(dict(model.named_parameters()))
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name]
        optimizer.step()
    per_sample = torch.func.vmap(torch.func.grad(lambda x: model(x).sum()))(inputs)
    assert per_sample.shape == inputs.shape
    assert recorded().history("lr").steps.tolist() == [0, 1, 2]


def test_a_gradient_of_something_that_is_no_number(recorded: Recorded) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    out = model(torch.randn(8, 3))
    out.backward(torch.ones_like(out))
    optimizer.step()
    assert set(recorded().metrics) == {"lr"}


def test_weights_are_the_same_to_the_bit(root: Path, loader: DataLoader[Any]) -> None:
    def train() -> list[torch.Tensor]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(3):
            for inputs, targets in DataLoader(loader.dataset, batch_size=8, shuffle=True):
                optimizer.zero_grad()
                mse_loss(model(inputs), targets).backward()
                optimizer.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    plain = train()
    with tachograph.autolog("torch", system=False):
        watched = train()
    assert all(torch.equal(left, right) for left, right in zip(plain, watched, strict=True))


# ---- the whole of it -------------------------------------------------------------------------------------------------


def test_the_events_of_a_small_training(recorded: Recorded, data: TensorDataset) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    train_loader = DataLoader(data, batch_size=20)
    for inputs, targets in train_loader:
        loss = mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
    lines = told(recorded())
    lines.remove("dataset train_loader train 40x3")  # its statistics are worked out beside the training
    assert lines == [
        "run.start opener=torch role=owner",
        "environment",
        "params: optimizer.class=SGD optimizer.dampening=0 optimizer.differentiable=False optimizer.lr=0.5 "
        "optimizer.maximize=False optimizer.momentum=0 optimizer.nesterov=False optimizer.weight_decay=0",
        "params: model.class=torch.nn.modules.linear.Linear model.parameters=4 model.trainable_parameters=4",
        "artifact model_summary (summary)",
        "metrics 0: epoch",
        "params: train_loader.batch_size=20 train_loader.dataset=TensorDataset train_loader.drop_last=False "
        "train_loader.num_workers=0 train_loader.rows=40 train_loader.shuffle=False",
        "metrics 0: loss lr",
        "metrics 1: loss lr",
        "metrics 1: data_seconds samples_per_second train_seconds",
        "artifact model (model)",
        "run.end finished",
    ]


def told(run: Any) -> list[str]:
    """A run's events, a line each, without what differs from machine to machine; what comes from the background,
    whenever that is, left out."""
    [writer] = journal.writers(run.dir)
    return [line for event in journal.read_writer(writer) if (line := _line(event)) is not None]


def _line(event: Any) -> str | None:
    match event:
        case events.RunStart():
            return f"run.start opener={event.opener} role={event.role}"
        case events.Environment() if "python" in event.values:
            return "environment"
        case events.Metrics():
            return f"metrics {event.step}: {' '.join(sorted(event.values))}"
        case events.Params():
            return f"params: {' '.join(f'{name}={value}' for name, value in sorted(event.values.items()))}"
        case events.Dataset():
            return f"dataset {event.name} {event.role} {event.rows}x{event.columns}"
        case events.Artifact():
            return f"artifact {event.name} ({event.type})"
        case events.RunEnd():
            return f"run.end {event.status}"
    return None
