"""Of an exception that ended a run its text and traceback are on record, without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

import tachograph


class ShyError(Exception):
    """One whose text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_message_that_can_not_be_written_as_text(root: Path) -> None:
    for error in [ValueError("caf\udce9"), ShyError(), ValueError("x" * 100_000), SystemExit("caf\udce9")]:
        run = tachograph.start_run()
        run.finish("failed", error)
        found = tachograph.open_store(root).run(run.id)
        assert found.status == "failed"
        assert found.error is not None
        assert found.error.type == type(error).__name__
    run = tachograph.start_run()
    run.finish("failed", "by hand: caf\udce9")
    assert tachograph.open_store(root).run(run.id).error.message == "by hand: caf?"  # type: ignore[union-attr]


def test_secrets_in_an_exception_are_not_recorded(root: Path) -> None:
    token = "hf_" + "AbCdEfGhIj" * 4
    with pytest.raises(ValueError), tachograph.start_run():
        raise ValueError(f"token={token}")
    assert not [path for path in root.rglob("*.jsonl") if token in path.read_text()]


def test_no_part_of_a_secret_is_left_where_a_traceback_is_cut(root: Path) -> None:
    cause, secret = ConnectionError("Authorization: Bearer swordfish"), "swordfish" * 3000
    with pytest.raises(ValueError), tachograph.start_run() as run:
        raise ValueError(f"password={secret}") from cause
    error = tachograph.open_store(root).run(run.id).error
    assert error is not None
    assert "swordfish" not in f"{error.message}{error.traceback}"
    assert "ValueError: password=[redacted]" in str(error.traceback)
