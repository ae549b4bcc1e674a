"""What a script of the gallery says of its own record: TOML at the end of its docstring, behind ``Expected:``.

    exit = 3                        # status of the process, 0 where it isn't said
    args = ["fit", "--epochs", "2"] # of the command line
    module = true                   # run as `python -m NAME`

    [[run]]                         # each run of the store
    name = "gan"                    # the script's name where it isn't said
    each = "workers"                # one such run for each item of this list in the truth
    status = "finished"
    error = "ValueError"            # the class; none where it isn't said
    parent = "gan"                  # name of the parent; none where it isn't said
    also = ["train_*"]              # metrics that may be there beside the curves
    artifacts = ["model"]           # that must be there
    datasets = ["X"]
    writers = 1                     # how many processes wrote it
    notes = ["made anew"]           # what may be noted; nothing else
    absent = ["gui"]                # params that must not be there
    [run.curves]                    # all that is recorded, with exact values at steps 0, 1, 2 ...
    loss = "losses"                 # a key of the truth, or the values; {steps, values} has other steps
    [run.params]                    # that must be there
    "optimizer.lr" = 0.1
    [run.weights]                   # digests of the artifacts' weights, as in the truth
    model = "digest"

Runs are compared in any order. Paths into the truth have dots: ``workers.0.losses``.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.gallery import truth

BY_THE_WAY = ["epoch", "epoch/*", "*_seconds", "*_seconds/*", "samples_per_second", "samples_per_second/*"]
_SLOW = "^git .* did not answer in time"  # of the machine that the tests run on, not of the script


@dataclass
class ExpectedRun:
    """One run as it should be in the store."""

    name: str
    status: str = "finished"
    error: str | None = None
    parent: str | None = None
    writers: int = 1
    each: str | None = None
    also: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def differences(self, run: Any, facts: Any) -> Iterator[str]:
        """What differs in a recorded run, in words."""
        yield from self._of_the_end(run)
        yield from self._of_curves(run, facts)
        params = dict(run.params)
        for name, value in self.params.items():
            if params.get(name) != value:
                yield f"param {name} is {params.get(name)!r}, not {value!r} (there are: {params})"
        for pattern in self.absent:
            if matching := fnmatch.filter(params, pattern):
                yield f"params {matching} are there"
        yield from self._of_parts(run, facts)

    def _of_the_end(self, run: Any) -> Iterator[str]:
        parent = None if run.parent is None else run.parent.name
        error = None if run.error is None else run.error.type
        seen = {"name": run.name, "status": run.status, "parent": parent, "error": error}
        seen["writers"] = len(run.writers)
        for part, value in seen.items():
            if value != getattr(self, part):
                yield f"{part} is {value!r}, not {getattr(self, part)!r}"

    def _of_curves(self, run: Any, facts: Any) -> Iterator[str]:
        for name, source in self.curves.items():
            wanted = points(source, facts)
            if name not in run.metrics:
                yield f"{name} is not there, but {list(run.metrics)}"
                continue
            history = run.history(name)
            recorded = list(zip(history.steps.tolist(), history.values.tolist(), strict=True))
            if [step for step, _ in recorded] != [step for step, _ in wanted]:
                yield f"{name} has {recorded}, not {wanted}"
            elif [v for _, v in recorded] != pytest.approx([v for _, v in wanted], rel=1e-9, abs=0, nan_ok=True):
                yield f"{name} has the values {recorded}, not {wanted}"
        for name in run.metrics:
            if name in self.curves:
                continue
            steps = run.history(name).steps.tolist()
            if len(steps) != len(set(steps)):
                yield f"{name} has a step twice: {steps}"
            if not any(fnmatch.fnmatch(name, p) for p in [*BY_THE_WAY, *self.also]):
                yield f"{name} is there, too: {run.history(name).values.tolist()}"

    def _of_parts(self, run: Any, facts: Any) -> Iterator[str]:
        kept = {artifact.name for artifact in run.artifacts}
        if missing := {*self.artifacts, *self.weights} - kept:
            yield f"artifacts {missing} are not there, but {kept}"
        for name, key in self.weights.items():
            if name in kept and truth.digest(run.artifact(name).load()) != look_up(facts, key):
                yield f"the weights of {name} are others"
        described = {dataset.name for dataset in run.datasets}
        if missing := set(self.datasets) - described:
            yield f"datasets {missing} are not there, but {described}"
        for note in run.notes:
            if not any(re.search(allowed, note.text) for allowed in [*self.notes, _SLOW]):
                yield f"a note says: {note.text}"


@dataclass
class Script:
    """A script of the gallery, and what its docstring says."""

    name: str
    path: Path
    runs: list[ExpectedRun]
    args: list[str] = field(default_factory=list)
    module: bool = False
    exit: int = 0

    @property
    def command(self) -> list[str]:
        """What stands behind ``python``."""
        return ["-m", self.name, *self.args] if self.module else [str(self.path), *self.args]

    def differences(self, store: Any, facts: dict[str, Any]) -> Iterator[str]:
        """What differs in what was recorded."""
        recorded = sorted(store.runs(children=True), key=lambda run: run.started)
        wanted = [pair for expected in self.runs for pair in _each(expected, facts)]
        if len(recorded) != len(wanted):
            yield f"{len(recorded)} runs {[run.name for run in recorded]}, not {len(wanted)}"
        for expected, own in wanted:
            alike = [pair for pair in enumerate(recorded) if pair[1].name == expected.name] or list(enumerate(recorded))
            found = [(list(expected.differences(run, own)), index) for index, run in alike]
            differing, index = min(found, default=(["it is not there"], -1), key=lambda pair: len(pair[0]))
            yield from (f"{expected.name}: {difference}" for difference in differing)
            if index >= 0:
                del recorded[index]


def _each(expected: ExpectedRun, facts: dict[str, Any]) -> list[tuple[ExpectedRun, Any]]:
    if expected.each is None:
        return [(expected, facts)]
    return [(expected, own) for own in look_up(facts, expected.each)]


def look_up(facts: Any, key: str) -> Any:
    """What a path leads to in the truth."""
    for part in key.split("."):
        facts = facts[int(part)] if isinstance(facts, list) else facts[part]
    return facts


def points(source: Any, facts: Any) -> list[tuple[int, float]]:
    """Steps and values of a curve."""
    if isinstance(source, str):
        source = look_up(facts, source)
    if isinstance(source, dict):
        steps, values = (look_up(facts, v) if isinstance(v, str) else v for v in (source["steps"], source["values"]))
        return list(zip(steps, values, strict=True))
    return list(enumerate(source if isinstance(source, list) else [source]))


def read(path: Path) -> Script:
    """A script, with what it says is expected."""
    is_package = path.is_dir()
    text = (path / "__main__.py" if is_package else path).read_text()
    said = tomllib.loads((ast.get_docstring(ast.parse(text)) or "").partition("Expected:")[2])
    runs = [ExpectedRun(**{"name": path.stem, **run}) for run in said.pop("run", [])]
    return Script(path.stem, path, runs, **said)
