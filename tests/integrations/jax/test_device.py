"""Numbers of JAX are recorded without waiting for their computation; scalars of any framework are parameters."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import tachograph
from tachograph.errors import TachographWarning


@jax.jit
def slow(x: Any, number: Any) -> Any:
    """``number``, once a computation of about a second is done."""
    return jax.lax.fori_loop(0, 60, lambda _, x: jnp.tanh(x @ x), x).mean() * 0 + number


MATRIX = jnp.ones((600, 600)) / 600


@pytest.fixture(scope="module")
def duration() -> float:
    """Seconds that one computation takes."""
    slow(MATRIX, 1.0).block_until_ready()
    began = time.perf_counter()
    slow(MATRIX, 1.0).block_until_ready()
    return time.perf_counter() - began


def history(root: Path, run: tachograph.Run, name: str = "loss") -> tuple[list[int], list[float]]:
    points = tachograph.open_store(root).run(run.id).history(name)
    return points.steps.tolist(), points.values.tolist()


def test_log_does_not_wait_for_a_computation(root: Path, duration: float) -> None:
    with tachograph.start_run() as run:
        run.log({"loss": slow(MATRIX, 0.0)}, 0)  # what is looked up is looked up once
        took = []
        for step in (1, 2, 3):
            number = slow(MATRIX, float(step))
            began = time.perf_counter()
            run.log({"loss": number, "beside": 1.0}, step)
            took.append(time.perf_counter() - began)
    assert min(took) < duration / 10
    assert history(root, run) == ([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0])
    assert history(root, run, "beside") == ([1, 2, 3], [1.0] * 3)


def test_a_number_that_is_there_is_recorded_at_once(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log({"loss": jnp.float32(1.5).block_until_ready()}, 4)
        assert history(root, run) == ([4], [1.5])


@pytest.mark.usefixtures("duration")
@pytest.mark.parametrize("kind", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.int32, jnp.uint8, float])
def test_every_kind_of_number_arrives(root: Path, kind: Any) -> None:
    with tachograph.start_run() as run:
        waits = slow(MATRIX, 3.0)
        run.log({"loss": waits.astype(kind), "one": waits[None]}, 7)
    assert history(root, run) == ([7], [3.0])
    assert history(root, run, "one") == ([7], [3.0])


def test_a_pending_nan_and_a_weak_type_arrive(root: Path) -> None:
    weak = jax.jit(lambda x: (x @ x).mean() * 0 + 2)(MATRIX)
    with tachograph.start_run() as run:
        run.log({"loss": slow(MATRIX, float("nan")), "weak": weak, "weaker": jnp.asarray(2.5)}, 1)
    steps, values = history(root, run)
    assert (steps, np.isnan(values).tolist()) == ([1], [True])
    assert history(root, run, "weak") == ([1], [2.0])
    assert history(root, run, "weaker") == ([1], [2.5])


def test_a_number_that_is_donated_or_deleted_after_it_was_logged_is_recorded(root: Path) -> None:
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    with tachograph.start_run() as run:
        first, second = slow(MATRIX, 1.0), slow(MATRIX, 2.0)
        run.log({"loss": first}, 0)
        run.log({"loss": second}, 1)
        add(first)
        second.delete()
        assert first.is_deleted()
    assert history(root, run) == ([0, 1], [1.0, 2.0])


def complaint(run: tachograph.Run, name: str, value: Any) -> str:
    with pytest.warns(TachographWarning) as caught:
        run.log({name: value, "beside": 1.0})
    assert len(caught) == 1
    return str(caught[0].message)


@pytest.mark.parametrize("make", [lambda: jax.random.key(0), lambda: jnp.ones(2), lambda: jnp.complex64(1j)])
def test_an_array_that_is_no_real_number_is_complained_about(root: Path, make: Any) -> None:
    with tachograph.start_run() as run:
        assert "metric 'odd' is not a number" in complaint(run, "odd", make())
    assert history(root, run, "beside") == ([0], [1.0])


def test_a_deleted_number_is_complained_about(root: Path) -> None:
    gone = jnp.ones(()) + 1
    gone.delete()
    with tachograph.start_run() as run:
        assert "metric 'gone' is not a number" in complaint(run, "gone", gone)
    assert history(root, run, "beside") == ([0], [1.0])


def test_what_is_logged_inside_a_compiled_function_is_complained_about_and_the_function_runs(root: Path) -> None:
    with tachograph.start_run() as run:

        @jax.jit
        def step(x: Any) -> Any:
            assert "metric 'loss' is not a number" in complaint(run, "loss", x)
            run.log_params({"traced": x})
            return x * 2

        assert step(jnp.float32(2.0)) == 4.0
    assert history(root, run, "beside") == ([0], [1.0])


def test_scalars_of_every_framework_are_numbers_as_parameters(root: Path) -> None:
    given = {
        "torch": torch.tensor(1.5), "torch_one": torch.tensor([3]), "torch_bool": torch.tensor(True),
        "bfloat16": torch.tensor(0.5, dtype=torch.bfloat16), "weight": torch.nn.Parameter(torch.tensor(2.5)),
        "jax": jnp.float32(1.5), "jax_one": jnp.array([3]), "jax_bool": jnp.array(True), "jax_half": jnp.bfloat16(0.5),
        "numpy": np.float32(1.5), "numpy_0d": np.array(3), "listed": [torch.tensor(1), jnp.int32(2)],
    }  # fmt: skip
    wanted = {
        "torch": 1.5, "torch_one": 3, "torch_bool": True, "bfloat16": 0.5, "weight": 2.5,
        "jax": 1.5, "jax_one": 3, "jax_bool": True, "jax_half": 0.5,
        "numpy": 1.5, "numpy_0d": 3, "listed": [1, 2],
    }  # fmt: skip
    with tachograph.start_run() as run, warnings.catch_warnings(action="error"):
        run.log_params(given)
        run.log_params({"meta": torch.ones((), device="meta"), "empty": torch.ones(0)})  # they hold no number
    params = dict(tachograph.open_store(root).run(run.id).params)
    assert {name: params[name] for name in wanted} == wanted
    assert [type(params[name]) for name in wanted] == [type(value) for value in wanted.values()]
    assert params["empty"] == "tensor([])"
    assert "meta" in params["meta"]
