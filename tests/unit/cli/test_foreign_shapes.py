"""What another program, or a newer version, recorded of its surroundings may have any shape: it is shown as far as it
can be, and nothing fails."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.cli.conftest import strict

import tachograph
from tachograph.events import MAX_INT

# The names under which we look for something, in each other as they may come.
NAMES = [
    "python", "version", "implementation", "executable", "os", "host", "system", "cpu", "count", "model", "memory",
    "total", "limit", "gpus", "name", "git", "commit", "branch", "dirty", "diff", "diff_bytes", "untracked", "remote",
    "error", "packages", "numpy", "argv", "cwd", "seeds", "variables", "schema", "missing", "classes", "rows", "path",
    "format", "$float",
]  # fmt: skip
HUGE = 10**400
plain = (
    st.none() | st.booleans() | st.integers() | st.sampled_from([HUGE, -HUGE, MAX_INT, 1e308, -1e308, 5e-324])
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.sampled_from(["NaN", "sha256:1"])
)  # fmt: skip
names = st.sampled_from(NAMES) | st.text(max_size=3)
shapes = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
facts = st.dictionaries(names, shapes, max_size=8)
small = st.none() | st.booleans() | st.floats(-9, 9) | st.text(max_size=3)
values = st.dictionaries(st.text(max_size=3), small | st.lists(small) | st.dictionaries(st.text(max_size=3), small))
times = st.sampled_from([1.7e9, 0.0, -1.0, 1e300, -1e300, 253402300799.0, 253402300800.0, 1e10])
numbers = st.sampled_from([0, 1, -1, HUGE, -HUGE, MAX_INT])


def written(
    root: Path, run: str, environment: Any, profile: Any, meta: Any, params: Any, at: float, number: int
) -> None:
    """A run of which these are the facts."""
    start = {
        "kind": "run.start", "run": run, "writer": "0-h-1-a", "role": "owner", "host": "h", "boot": "b", "pid": number,
        "born": number, "name": run,
    }  # fmt: skip
    happened: list[dict[str, Any]] = [
        start,
        {"kind": "environment", "values": environment},
        {"kind": "dataset", "name": "x", "role": "train", "rows": number, "columns": number, "profile": profile},
        {"kind": "artifact", "name": "a", "type": "file", "digest": "sha256:1", "size": number, "filename": "a.txt",
         "meta": meta, "step": number},
        {"kind": "link", "relation": "used", "target": "sha256:1", "meta": meta},
        {"kind": "params", "values": params},
        {"kind": "metrics", "step": number, "values": {"loss": 1.0, "system/cpu.memory": -1.0}},
        {"kind": "note", "text": "at that time", "at": at},
        {"kind": "console", "stream": "stdout", "text": "at that time", "at": at},
        {"kind": "newer", "values": environment, "at": at},
        {"kind": "run.end", "status": "finished", "seconds": 1.0},  # whole, else the run never ends
    ]  # fmt: skip
    folder = root / "runs" / run / "0-h-1-a"
    folder.mkdir(parents=True)
    lines = [{"at": 1.7e9 + seq, **event, "v": 1, "seq": seq} for seq, event in enumerate(happened, 1)]
    (folder / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


COMMANDS = ["runs", "show one", "compare one two", "tail one", "export --format csv {out}", "doctor", "compact"]
EXPORTS = ["export --format jsonl {out}", "export --format parquet {out}"]


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(environment=facts, profile=facts, meta=facts, params=values, at=times, number=numbers)
@example({"git": "abc", "gpus": 3, "argv": 5, "cwd": 3}, {"schema": 5}, {}, {}, 1e300, 1)
@example({"git": {"commit": 5}, "gpus": [1]}, {"classes": [1]}, {"path": []}, {"x": [[]]}, -1.0, HUGE)
@example({"cpu": 1, "memory": {"total": "x"}}, {"schema": [1, {"missing": "x"}]}, {}, {"x": {"a": [None]}}, 0.0, -1)
@example({"packages": [1], "seeds": 1}, {"classes": {"a": "b", "c": HUGE}}, {}, {}, 253402300800.0, -HUGE)
@example({"git": {"commit": "a", "diff": 5, "untracked": 1}, "os": {"host": {}}}, {}, {}, {}, 1e10, MAX_INT)
def test_facts_of_any_shape_are_shown(run_cli, environment, profile, meta, params, at, number) -> None:
    root = Path(tempfile.mkdtemp())
    written(root, "one", environment, profile, meta, params, at, number)
    written(root, "two", {}, {}, {}, {}, 1.7e9, 1)
    for command in COMMANDS:
        for more in ([], ["--json"]):
            said = [*command.format(out=root / "out").split(), "--root", str(root), *more]
            status, output, errors = run_cli(*said)
            assert status in (0, 1), (said, errors)
            assert "Traceback" not in errors
            if more:
                strict(output)
    for command in EXPORTS:
        assert run_cli(*command.format(out=root / "out").split(), "--root", str(root))[0] == 0
    store = tachograph.open_store(root)
    assert len(store.runs().to_pandas()) == len(store.runs().to_polars()) == len(store.runs()) == 2
    assert store.runs()._repr_html_().startswith("<table>")
    for run in store.runs():
        assert run._repr_html_().startswith("<table>")
        assert (run.notes, run.datasets, run.writers) is not None
    store.close()


def test_what_has_our_shape_is_shown_beside_what_has_not(store: Path, run_cli: Callable[..., Any]) -> None:
    environment = {
        "python": 5,
        "git": "abc",
        "gpus": [3, {"name": "H100"}],
        "cwd": "/here",
        "packages": {"numpy": "2.0"},
    }
    profile = {"schema": [5, {"missing": 3}], "classes": {"a": 3, "b": 1, "c": "x"}}
    written(store, "one", environment, profile, {}, {"deep": {"er": [1, None]}}, 1.7e9, 1)
    _, output, _ = run_cli("show", "one")
    for text in ("gpus      H100", "folder    /here", "1 package: numpy 2.0", "3 in 1 column", "a 75%, b 25%"):
        assert text in output, output
    assert "deep={er: [1, None]}" in output


@pytest.mark.parametrize("at", [1e300, -1e300, 253402300800.0])
def test_tail_shows_what_came_at_a_time_that_can_not_be(store: Path, run_cli: Callable[..., Any], at: float) -> None:
    written(store, "one", {}, {}, {}, {}, at, 1)
    status, output, errors = run_cli("tail", "one")
    assert (status, errors) == (0, "")
    assert "finished after" in output
    status, output, errors = run_cli("tail", "one", "--json")
    assert (status, errors) == (0, "")
    assert [item["kind"] for item in strict(output)][-1] == "end"


def test_what_is_nested_as_deep_as_it_is_read_is_shown(store: Path, run_cli: Callable[..., Any]) -> None:
    deep: Any = 1
    for _ in range(700):
        deep = [deep]
    written(store, "one", {"git": deep, "argv": [deep], "deep": {"x": deep}}, {"schema": deep}, {}, {}, 1.7e9, 1)
    written(store, "two", {}, {}, {}, {}, 1.7e9, 1)
    for command in ("show one", "show one --json", "compare one two", "compare one two --json"):
        status, output, errors = run_cli(*command.split())
        assert (status, errors) == (0, ""), command
        assert not command.endswith("--json") or strict(output)
