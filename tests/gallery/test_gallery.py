"""Scripts as people write them: each behaves the same with tachograph as without, and what it does is on record.

Each script tells by its own bookkeeping what it has seen (``truth.py``), and says in its docstring what of that should
be recorded (``expected.py``). It runs three times: as it is, with autolog on from its first line, both forked from a
process that has the frameworks (``zygote.py``), and under ``tachograph exec`` in a process that is new.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.gallery import expected, truth

import tachograph

HERE = Path(__file__).parent
HELPERS = {"truth", "zygote", "expected", "test_gallery"}
PATIENCE = 250  # seconds
FAULTS = {  # of scripts that are not recorded as they should be: what is wrong
    "exit_three": "autolog: `raise SystemExit(3)` in the script itself ends the run finished",
}
_ZYGOTES_FRAMES = re.compile(r'  File "[^"]*zygote\.py".*\n(?:    .*\n)*|  File "<frozen runpy>".*\n')
_SETTINGS = {
    "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
    "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
}  # fmt: skip


def _scripts() -> list[object]:
    paths = [path for path in sorted(HERE.glob("*.py")) if path.stem not in HELPERS]
    paths += [path.parent for path in sorted(HERE.glob("*/__main__.py"))]
    return [pytest.param(path, id=path.stem, marks=_marks(path.stem)) for path in sorted(paths)]


def _marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(strict=True, reason=FAULTS[name])] if name in FAULTS else []


@pytest.fixture(scope="module")
def zygote() -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TACHOGRAPH_")}
    with subprocess.Popen(
        [sys.executable, str(HERE / "zygote.py")], env={**environment, **_SETTINGS},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("path", _scripts())
def test_a_script_does_the_same_and_is_recorded(path: Path, tmp_path: Path, zygote: subprocess.Popen[str]) -> None:
    script = expected.read(path)
    forms = {form: Form(script, tmp_path / form) for form in ("plain", "autolog", "exec")}
    fresh = forms["exec"].begin([sys.executable, "-m", "tachograph", "exec"])
    plain, logged = forms["plain"].ask(zygote, autolog=False), forms["autolog"].ask(zygote, autolog=True)
    executed = forms["exec"].end(fresh)
    assert plain.status == script.exit, plain.errors
    assert not forms["plain"].store.exists()
    assert executed == plain
    assert logged == plain
    facts = truth.told(plain.output)
    assert facts, "the script has not told what it has seen"
    assert list(script.differences(tachograph.open_store(str(forms["autolog"].store)), facts)) == []
    assert list(script.differences(tachograph.open_store(str(forms["exec"].store)), facts)) == []


@dataclass
class Outcome:
    """What a script has printed, and how it has ended."""

    output: str
    errors: str
    status: int


class Form:
    """One of the ways to run a script, in a folder of its own."""

    def __init__(self, script: expected.Script, folder: Path) -> None:
        folder.mkdir()
        self._script, self._cwd = script, folder / "work"
        self._cwd.mkdir()
        self.store = folder / "store"
        self._output, self._errors = folder / "output", folder / "errors"
        self._environment = {"TACHOGRAPH_DIR": str(self.store), "TACHOGRAPH_STRICT": "1"}

    def begin(self, launcher: list[str]) -> subprocess.Popen[bytes]:
        """Run it in a new process."""
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            return subprocess.Popen(
                [*launcher, *self._script.command], cwd=self._cwd, stdin=subprocess.DEVNULL, stdout=output,
                stderr=errors, env={**os.environ, **_SETTINGS, **self._environment},
            )  # fmt: skip

    def end(self, process: subprocess.Popen[bytes]) -> Outcome:
        try:
            return self._outcome(process.wait(PATIENCE))
        finally:
            process.kill()

    def ask(self, zygote: subprocess.Popen[str], autolog: bool) -> Outcome:
        """Run it in a process that has the frameworks already."""
        request = {
            "autolog": autolog, "command": self._script.command, "cwd": str(self._cwd),
            "environment": self._environment, "output": str(self._output), "errors": str(self._errors),
        }  # fmt: skip
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        print(json.dumps(request), file=zygote.stdin, flush=True)
        return self._outcome(int(zygote.stdout.readline()))

    def _outcome(self, status: int) -> Outcome:
        errors = _ZYGOTES_FRAMES.sub("", self._errors.read_text())
        return Outcome(self._output.read_text(), errors, status)
