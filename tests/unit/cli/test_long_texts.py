"""Texts of any length, in a journal that somebody else wrote, are shown in part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.printable import MOST_SHOWN, clipped, printable

LONG = "wörd \u202e" * 500_000


@pytest.fixture
def foreign(root: Path) -> None:
    with tachograph.start_run("other") as other:
        other.log_params({"p": 1})
    with tachograph.start_run("long") as run:
        run.log({"loss": 1.0})
        run.log_note("LONG")
        run.log_params({"p": "LONG", "LONG": 1})
        run.set_tags({"t": "LONG"})
        run.finish(error="LONG", status="failed")
    [path] = (root / "runs" / run.id).glob("*/1.jsonl")
    path.write_text(path.read_text().replace("LONG", LONG))


@pytest.mark.parametrize(
    "command", [["runs"], ["show", "long"], ["compare", "long", "other"], ["tail", "long"], ["runs", "--where", "x"]]
)
def test_a_long_text_is_shown_in_part(foreign: None, program: Any, command: list[str]) -> None:
    done = program(*command)
    assert len(done.stdout) + len(done.stderr) < 12 * MOST_SHOWN
    assert "Traceback" not in done.stderr


def test_what_is_left_out_is_said() -> None:
    assert clipped("x" * (MOST_SHOWN + 1)) == "x" * MOST_SHOWN + f"... ({MOST_SHOWN + 1} characters)"
    assert clipped("x" * MOST_SHOWN) == "x" * MOST_SHOWN


def test_characters_that_a_terminal_obeys_are_replaced_wherever_they_are() -> None:
    assert printable("a\x1b[31m\u202eb\ud800ö") == "a [31m b\N{REPLACEMENT CHARACTER}ö"
