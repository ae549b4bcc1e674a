"""Reading a journal: damage costs the damaged lines alone, and ends are found where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.journal.test_writing import in_order, open_journal

from tachograph import journal
from tachograph.events import Environment, Event, Metrics, Note, Params, RunEnd, RunStart, encode
from tachograph.journal import Block, Damage

LINES = [
    encode(event) + b"\n"
    for event in [
        RunStart(v=1, seq=1, run="r", writer="w", role="owner", host="h", boot="b", pid=1, born=2),
        *(Metrics(1, seq, 5.0 + seq, seq, {"loss": 0.5 / seq}) for seq in range(2, 15)),
        Note(v=1, seq=15, text="first\nsecond"),
        RunEnd(v=1, seq=16, status="finished"),
    ]
]
WHOLE = b"".join(LINES)


def write_segment(folder: Path, content: bytes, first: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{first}.jsonl"
    path.write_bytes(content)
    return path


def undamaged(start: int, stop: int) -> list[bytes]:
    """The lines that bytes ``start`` to ``stop`` and what is put in their place leave as they were."""
    lines, offset = [], 0
    for line in LINES:
        if offset + len(line) <= start or offset > stop:
            lines.append(line)
        offset += len(line)
    return lines


@st.composite
def damages(draw: st.DrawFn) -> tuple[int, int, bytes]:
    start = draw(st.integers(0, len(WHOLE)))
    stop = min(len(WHOLE), start + draw(st.integers(0, 5) | st.integers(0, len(WHOLE))))
    return start, stop, draw(st.binary(max_size=8) | st.sampled_from([b"\n", b"9", b"\0" * 40, b"[" * 10]))


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(damages())
def test_damage_costs_the_damaged_lines_alone(tmp_path: Path, damage: tuple[int, int, bytes]) -> None:
    start, stop, put = damage
    path = write_segment(tmp_path / "w", WHOLE[:start] + put + WHOLE[stop:])
    items = list(journal.read(path))
    good = [encode(item) + b"\n" for item in items if isinstance(item, Event)]
    expected = undamaged(start, stop)
    assert is_subsequence(expected, good)
    assert len(items) == sum(bool(line.strip()) for line in path.read_bytes().split(b"\n"))
    assert [item for item in Block(path, 0, 1, path.read_bytes()).items() if item is not None] == items
    through_writer = [encode(item) + b"\n" for item in journal.read_writer(tmp_path / "w") if isinstance(item, Event)]
    assert is_subsequence(expected, through_writer)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.integers(0, len(WHOLE)))
def test_a_file_cut_anywhere_reads_up_to_there(tmp_path: Path, size: int) -> None:
    path = write_segment(tmp_path / "w", WHOLE[:size])
    events = [item for item in journal.read(path) if isinstance(item, Event)]
    damage = [item for item in journal.read(path) if isinstance(item, Damage)]
    assert [event.seq for event in events[: len(undamaged(size, len(WHOLE)))]] == list(
        range(1, len(undamaged(size, len(WHOLE))) + 1)
    )
    assert all(item.torn for item in damage)
    assert len(damage) <= 1


def is_subsequence(wanted: list[bytes], found: list[bytes]) -> bool:
    rest = iter(found)
    return all(line in rest for line in wanted)


def test_damage_says_where(tmp_path: Path) -> None:
    path = write_segment(tmp_path / "w", LINES[0] + b"garbage\n" + LINES[1] + LINES[2][:-20])
    damage = [item for item in journal.read(path) if isinstance(item, Damage)]
    assert [(item.line, item.offset, item.torn) for item in damage] == [
        (2, len(LINES[0]), False),
        (4, len(LINES[0] + b"garbage\n" + LINES[1]), True),
    ]
    assert str(damage[0]).startswith(f"{path}:2: ")
    assert "\n" not in str(damage[0])


def test_an_empty_file_and_an_empty_folder(tmp_path: Path) -> None:
    assert list(journal.read(write_segment(tmp_path / "w", b""))) == []
    assert journal.header(tmp_path / "w") is None
    assert not journal.has_ended(tmp_path / "w")
    assert journal.writers(tmp_path / "nowhere") == []
    assert list(journal.read_writer(tmp_path / "nowhere")) == []
    assert journal.header(tmp_path / "nowhere") is None
    assert not journal.has_ended(tmp_path / "nowhere")


def test_segments_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_segment(tmp_path / "w", b"".join(LINES[9:]), 10)
    write_segment(tmp_path / "w", b"".join(LINES[:1]), 1)
    write_segment(tmp_path / "w", b"".join(LINES[1:9]), 2)
    assert in_order(tmp_path / "w")
    header = journal.header(tmp_path / "w")
    assert header is not None
    assert header.run == "r"


def test_files_that_are_not_ours_are_left_out(tmp_path: Path) -> None:
    write_segment(tmp_path / "w", WHOLE)
    for name in ["notes.jsonl", ".jsonl", "²".encode().decode() + ".jsonl", "1.json", "1.jsonl~", "-1.jsonl"]:
        (tmp_path / "w" / name).write_text("not ours")
    (tmp_path / "w" / "7.jsonl").mkdir()
    (tmp_path / "stray.txt").write_text("not a writer")
    assert in_order(tmp_path / "w")
    assert journal.has_ended(tmp_path / "w")
    assert journal.writers(tmp_path) == [tmp_path / "w"]


def test_a_line_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    write_segment(tmp_path / "w", b"".join([*LINES[:5], LINES[4]]), 1)
    write_segment(tmp_path / "w", b"".join(LINES[4:]), 5)
    assert in_order(tmp_path / "w")


def test_a_damaged_number_does_not_hide_the_lines_after_it(tmp_path: Path) -> None:
    damaged = LINES[4].replace(b'"seq":5', b'"seq":9')
    write_segment(tmp_path / "w", b"".join([*LINES[:4], damaged, *LINES[5:]]))
    seqs = [item.seq for item in journal.read_writer(tmp_path / "w") if isinstance(item, Event)]
    assert seqs == [1, 2, 3, 4, 9, *range(6, 17)]


def test_a_run_is_not_ended_by_what_looks_like_an_end(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    writing.append(Note(text='{"kind":"run.end"}\n{"kind":"run.end"'))
    writing.append(Params(values={"kind": "run.end", "a": {"kind": "run.end"}}))
    assert not journal.has_ended(tmp_path / "w")
    writing.append(RunEnd(status="finished"))
    assert journal.has_ended(tmp_path / "w")
    writing.append(Note(text="late"))
    assert journal.has_ended(tmp_path / "w")


def test_an_end_is_found_before_a_large_fact_that_came_after_it(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    writing.append(Note(text="x"))
    [segment] = journal.segments(tmp_path / "w")
    before = segment.stat().st_size
    writing.append(RunEnd(status="finished"))
    after = segment.stat().st_size
    writing.append(Environment(values={"git": {"diff": "+ a line\n" * 100_000}}))
    assert journal.has_ended(tmp_path / "w")
    assert journal.has_ended(tmp_path / "w", since=before)
    assert journal.has_ended(tmp_path / "w", since=before + 5)  # when half of it was there
    assert not journal.has_ended(tmp_path / "w", since=after)
