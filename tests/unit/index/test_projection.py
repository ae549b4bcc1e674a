"""What events add up to in the tables."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.parts.journals import ELSEWHERE, GONE, append, header, lines, point

from tachograph import events
from tachograph.events import Note, Params, RunEnd, Tags
from tachograph.index import index
from tachograph.store.store import open_store


def test_a_run_is_what_its_events_add_up_to(root: Path) -> None:
    happened = [
        header("r", "0-w", opener="sklearn"), Params(values={"lr": 0.1, "depth": 3}), Tags(values={"a": "1"}),
        point(0, loss=1.0), point(1, loss=0.5), Params(values={"lr": 0.2, "none": None}), Tags(values={"a": "2"}),
        Note(text="n"), RunEnd(status="failed", error=events.Fault("E", "m", "t")),
    ]  # fmt: skip
    append(root, "r", "0-w", lines(*happened))
    run = open_store().run("r")
    assert (run.name, run.experiment, run.opener, run.status) == ("name of r", "e", "sklearn", "failed")
    assert run.params == {"lr": 0.2, "depth": 3, "none": None}
    assert run.tags == {"a": "2"}
    assert run.metrics == {"loss": 0.5}
    assert run.error is not None
    assert (run.error.type, run.error.message, run.error.traceback) == ("E", "m", "t")
    assert run.started.timestamp() == 1000.0
    assert run.ended is not None
    assert run.ended.timestamp() == 1008.0


def test_another_ranks_error_speaks_for_a_rank_0_that_died(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE)))
    fault = events.Fault("ValueError", "rank 1's own")
    other = header("r", "1-a", GONE, rank=1, role="worker")
    append(root, "r", "1-a", lines(other, RunEnd(status="failed", error=fault)))
    run = open_store().run("r")
    assert run.status == "crashed"
    assert run.error == fault


def test_a_writer_whose_rank_was_started_again_is_no_more(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", ELSEWHERE)))
    append(root, "r", "0-b", lines(header("r", "0-b", ELSEWHERE, attempt=1), at=2000.0))
    run = open_store().run("r")
    assert [writer.status for writer in run.writers] == ["crashed", "running"]
    assert run.status == "running"


def test_written_forms_come_back_as_values(root: Path) -> None:
    written = events.written_param([1, float("inf"), [float("nan")]])
    append(root, "r", "0-w", lines(
        header("r", "0-w"), Params(values={"l": written, "s": "NaN", "b": True}),
        point(0, a="NaN", b="-Infinity", c=True),
    ))  # fmt: skip
    run = open_store().run("r")
    assert repr(run.params) == "{'b': True, 'l': [1, inf, [nan]], 's': 'NaN'}"
    assert repr(run.metrics) == "{'a': nan, 'b': -inf, 'c': 1.0}"


def test_the_newest_owner_decides_how_a_run_ended_and_the_first_what_it_is_called(root: Path) -> None:
    append(root, "r", "0-b", lines(header("r", "0-b", GONE, name="first"), point(0, x=1), at=10.0))
    append(root, "r", "0-a", lines(
        header("r", "0-a", GONE, attempt=1, name="second"), point(1, x=2), RunEnd(status="finished"), at=20.0
    ))  # fmt: skip
    append(root, "r", "1-c", lines(header("r", "1-c", GONE, role="worker", rank=1, attempt=1), at=30.0))
    run = open_store().run("r")
    assert (run.name, run.status, run.metrics) == ("first", "finished", {"x": 2})
    assert [(each.id, each.status) for each in run.writers] == [
        ("0-b", "crashed"), ("0-a", "finished"), ("1-c", "crashed"),
    ]  # fmt: skip
    assert run.history("x").values.tolist() == [1, 2]


def test_ranks_and_children_of_a_job(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, loss=1, **{"system/cpu": 5}), at=10.0))
    append(root, "r", "0-c", lines(header("r", "0-c", role="worker"), point(1, loss=2), at=20.0))
    third = header("r", "3-b", role="worker", rank=3)
    append(root, "r", "3-b", lines(third, point(0, loss=9, **{"system/cpu": 7}), at=30.0))
    run = open_store().run("r")
    assert run.metrics == {"loss": 2, "rank3/loss": 9}
    assert run.system == {"system/cpu": 5, "system/rank3/cpu": 7}
    assert run.history("loss").values.tolist() == [1, 2]


def test_writers_are_merged_by_time_and_a_clock_that_was_set_back_changes_no_order(root: Path) -> None:
    happened = [(10.0, 1), (12.0, 2), (3.0, 3), (14.0, 4)]
    append(root, "r", "0-a", lines(header("r", "0-a"), at=9.0))
    for seq, (at, value) in enumerate(happened, start=2):
        append(root, "r", "0-a", lines(point(seq, x=value), first=seq, at=at))
    append(root, "r", "0-b", lines(header("r", "0-b", role="worker"), at=9.5))
    append(root, "r", "0-b", lines(point(0, x=10), point(1, x=11), point(2, x=12), first=2, at=11.0))
    history = open_store().run("r").history("x")
    assert history.values.tolist() == [1, 10, 2, 3, 11, 12, 4]
    summary = open_store().run("r").summary("x")
    assert (summary.first, summary.last, summary.min, summary.max, summary.max_step) == (1, 4, 1, 12, 2)
    assert open_store().run("r").metrics == {"x": 4}


def test_a_run_without_its_header_is_known_by_its_folder(root: Path) -> None:
    append(root, "orphan", "2-h-1-x", [b"garbage\n", *lines(point(0, x=1), RunEnd(status="finished"), first=2)])
    store = open_store()
    run = store.run("orphan")
    assert (run.id, run.name, run.status, run.metrics) == ("orphan", "orphan", "finished", {"rank2/x": 1})
    assert [str(item) for item in store.damage] == [
        f"{root}/runs/orphan/2-h-1-x/1.jsonl:1: JSON is malformed: invalid character (byte 0)"
    ]


def test_an_unknown_kind_costs_nothing(root: Path) -> None:
    newer = b'{"v":2,"seq":2,"at":1001.0,"kind":"telepathy","values":[1]}\n'
    append(root, "r", "0-a", [*lines(header("r", "0-a")), newer, *lines(point(0, x=1), first=3)])
    store = open_store()
    assert store.run("r").metrics == {"x": 1}
    assert store.damage == []
    assert index.Index(root).rows("SELECT kind FROM event") == [("telepathy",)]


def test_of_equal_sequence_numbers_the_first_wins(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, x=1), point(1, x=2)))
    append(root, "r", "0-a", lines(point(9, x=9), point(2, x=3), first=3))
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, x=5)), segment=7)
    run = open_store().run("r")
    assert run.history("x").values.tolist() == [1, 2, 3]
    assert run.history("x").steps.tolist() == [0, 1, 2]


def test_a_damaged_sequence_number_does_not_swallow_what_follows(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, x=0)))
    append(root, "r", "0-a", lines(point(1, x=1), first=903))
    append(root, "r", "0-a", lines(point(2, x=2), point(3, x=3), first=4))
    assert sorted(open_store().run("r").history("x").values) == [0, 1, 2, 3]


def test_segments_that_arrive_in_the_wrong_order_come_out_in_the_right_one(root: Path) -> None:
    early = lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(50)])
    late = lines(*[point(step, x=step) for step in range(50, 100)], first=52, at=1051.0)
    append(root, "r", "0-a", early[:20])
    append(root, "r", "0-a", late, segment=52)
    store = open_store()
    assert len(store.run("r").history("x")) == 69
    append(root, "r", "0-a", early[20:])
    assert open_store().run("r").history("x").steps.tolist() == list(range(100))
    assert open_store().run("r").metrics == {"x": 99}


def test_impossible_times_and_steps_are_damage(root: Path) -> None:
    append(root, "r", "0-a", [
        *lines(header("r", "0-a")),
        b'{"v":1,"seq":2,"at":1e300,"kind":"metrics","step":1,"values":{"x":1}}\n',
        b'{"v":1,"seq":3,"at":-5,"kind":"note","text":"x"}\n',
        b'{"v":1,"seq":4,"at":5,"kind":"metrics","step":99999999999999999999,"values":{"x":1}}\n',
        b'{"v":1,"seq":5,"at":1001,"kind":"metrics","step":5,"values":{"x":5}}\n',
    ])  # fmt: skip
    store = open_store()
    assert [item.line for item in store.damage] == [2, 3, 4]
    assert store.run("r").history("x").steps.tolist() == [5]


def test_the_ranges_of_sequence_numbers() -> None:
    from tachograph.index.projection import Seen

    for seed in range(50):
        random, seen, known = Random(seed), Seen([]), set()
        for _ in range(60):
            seq = random.randint(1, 30)
            assert seen.add(seq) == (seq not in known)
            known.add(seq)
        assert [number for first, last in seen.ranges for number in range(first, last + 1)] == sorted(known)
        assert all(first[1] + 1 < second[0] for first, second in zip(seen.ranges, seen.ranges[1:], strict=False))
