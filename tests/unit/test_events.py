"""Events become lines and come back; a line that is none raises ValueError, whatever it holds."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tachograph import events
from tachograph.events import Event, Fault, Member, Metrics, Note, Params, RunEnd, RunStart, Unknown, decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAME = TEXT.filter(bool)
INT64 = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
SIZE = st.integers(0, 2**63 - 1)
SMALL = st.integers(0, 2**31 - 1)
STATUS = st.sampled_from(["running", "finished", "failed", "interrupted", "crashed"])
COMMON = {"v": st.just(events.VERSION), "seq": st.integers(1, 2**63 - 1), "at": st.floats(0, 9e9)}


def kind(of: type[Event], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    return st.builds(of, **COMMON, **fields)


MEMBER = st.builds(Member, path=TEXT, digest=TEXT, size=SIZE)
EVENTS = st.one_of(
    kind(
        RunStart, run=TEXT, writer=TEXT, role=TEXT, host=TEXT, boot=TEXT, pid=SMALL, born=SIZE, rank=SMALL,
        attempt=SMALL, name=st.none() | TEXT, experiment=st.none() | TEXT, parent=st.none() | TEXT, opener=TEXT,
        version=TEXT,
    ),
    kind(
        RunEnd, status=STATUS, error=st.none() | st.builds(Fault, type=TEXT, message=TEXT, traceback=TEXT),
        seconds=st.floats(0, 1e9),
    ),
    kind(Params, values=st.dictionaries(NAME, JSON)),
    kind(
        Metrics, step=INT64,
        values=st.dictionaries(NAME, st.floats().map(events.written_number) | st.booleans()),
    ),
    kind(events.Tags, values=st.dictionaries(NAME, TEXT)),
    kind(events.Environment, values=st.dictionaries(NAME, JSON)),
    kind(
        events.Dataset, name=TEXT, role=TEXT, digest=TEXT, rows=st.none() | SIZE, columns=st.none() | SIZE,
        source=st.none() | TEXT, version=st.none() | TEXT, profile=st.dictionaries(NAME, JSON),
    ),
    kind(
        events.Artifact, name=TEXT, type=TEXT, digest=TEXT, size=SIZE, filename=TEXT, step=st.none() | INT64,
        members=st.none() | st.lists(MEMBER, max_size=3), meta=st.dictionaries(NAME, JSON),
    ),
    kind(events.Release, digests=st.lists(TEXT, max_size=3), reason=TEXT),
    kind(events.Link, relation=TEXT, target=TEXT, meta=st.dictionaries(NAME, JSON)),
    kind(Note, text=TEXT, source=TEXT),
    kind(events.Console, stream=TEXT, text=TEXT),
)  # fmt: skip


@given(EVENTS)
def test_every_kind_comes_back_as_it_was_written(event: Event) -> None:
    line = encode(event)
    assert b"\n" not in line
    assert decode(line) == event
    assert json.loads(line)["kind"] in events.KINDS


def test_the_round_trip_covers_every_kind() -> None:
    kinds = {type(event) for event in map(decode, map(encode, _examples()))}
    assert {str(kind.__struct_config__.tag) for kind in kinds} == set(events.KINDS)


def _examples() -> list[Event]:
    common: dict[str, Any] = {"v": 1, "seq": 1}
    return [
        RunStart(**common, run="r", writer="w", role="owner", host="h", boot="b", pid=1, born=2),
        RunEnd(**common, status="finished"),
        Params(**common, values={}),
        Metrics(**common),
        events.Tags(**common, values={}),
        events.Environment(**common, values={}),
        events.Dataset(**common, name="d", role="train"),
        events.Artifact(**common, name="a", type="file", digest="d", size=1, filename="f"),
        events.Release(**common, digests=["d"]),
        events.Link(**common, relation="used", target="t"),
        Note(**common, text="t"),
        events.Console(**common, stream="stdout", text="t"),
    ]


@given(st.floats())
@example(math.nan)
@example(math.inf)
@example(-math.inf)
@example(-0.0)
@example(5e-324)
def test_a_metric_survives_the_round_trip_bit_for_bit(value: float) -> None:
    line = encode(Metrics(1, 1, 0.0, 0, {"loss": events.written_number(value)}))
    decoded = decode(line)
    assert isinstance(decoded, Metrics)
    back = events.number(decoded.values["loss"])
    assert back.hex() == value.hex()


@given(st.floats() | st.lists(st.floats() | st.lists(st.floats())))
def test_a_parameter_that_is_not_finite_is_told_from_its_text(value: Any) -> None:
    written = msgspec.json.decode(encode(events.written_param(value)))
    assert repr(events.param(written)) == repr(value)
    assert events.param("NaN") == "NaN"


@pytest.mark.slow
@given(st.dictionaries(NAME, JSON), st.integers(1, 2**63 - 1), st.integers(2, 1000))
def test_a_kind_of_a_newer_version_is_kept_with_all_its_fields(fields: dict[str, Any], seq: int, version: int) -> None:
    fields = {**fields, "v": version, "kind": "hologram", "seq": seq, "at": 1.5}
    event = decode(json.dumps(fields).encode())
    assert event == Unknown(v=version, seq=seq, at=1.5, name="hologram", fields=fields)


def test_a_known_kind_that_a_newer_version_has_changed_is_kept_too() -> None:
    event = decode(b'{"v":2,"kind":"metrics","seq":5,"at":1.0,"step":"many"}')
    assert isinstance(event, Unknown)
    assert event.fields["step"] == "many"


def test_fields_that_a_newer_version_has_added_do_no_harm() -> None:
    assert decode(b'{"v":2,"kind":"note","seq":5,"at":1.0,"text":"x","colour":"red"}') == Note(
        v=2, seq=5, at=1.0, text="x"
    )


def test_an_older_version_reads_with_what_it_had() -> None:
    assert decode(b'{"kind":"run.end","seq":3,"status":"finished"}') == RunEnd(seq=3, status="finished")


@pytest.mark.parametrize("status", ["running", "finished", "failed", "interrupted", "crashed"])
def test_a_run_ends_in_one_of_five_ways(status: str) -> None:
    assert decode(b'{"kind":"run.end","v":1,"seq":3,"status":"%s"}' % status.encode()) == RunEnd(
        v=1, seq=3, status=status
    )


def test_lines_are_read_together_as_each_by_itself() -> None:
    lines = [
        b'{"v":1,"kind":"params","seq":1,"values":{"x":{"$float":"NaN"},"y":[1,{"a":2}]}}',
        *map(encode, _examples()),
    ]
    assert repr(events.decode_lines(b"\n".join(lines) + b"\n")) == repr([decode(line) for line in lines])
    for wrong in WRONG[1:]:
        with pytest.raises(ValueError):
            events.decode_lines(b"\n".join([*lines, wrong]) + b"\n")


def test_the_number_of_a_line_is_read_alone() -> None:
    assert events.sequence_number(b'{"seq":5,"kind":["?"]}') == 5
    for line in (b'{"seq":0}', b'{"seq":9223372036854775808}', b'{"x":' + b"[" * 100_000, b"{}", b"\xff"):
        with pytest.raises(ValueError):
            events.sequence_number(line)


@pytest.mark.parametrize("between", [b"\n\n", b" \n", b"", b" "])
def test_events_that_share_a_line_are_not_taken_for_lines(between: bytes) -> None:
    one = b'{"v":1,"kind":"note","seq":1,"text":"x"}'
    with pytest.raises(ValueError):
        events.decode_lines(one + between + one + b"\n" * (3 - between.count(b"\n")))
    with pytest.raises(ValueError):
        events.decode_lines(b"\n".join([one + one, one.replace(b":1,", b":\n1,"), b""]))


START = b'{"v":1,"kind":"run.start","seq":1,"run":"r","writer":"w","role":"owner","host":"h","boot":"b",'
DEEP = b'{"kind":"note","seq":1,"text":"x","a":' + b'{"a":' * 100_000
WRONG = [
    b"",
    b"null",
    b"[1]",
    b"{}",
    b'{"kind":"note","text":"no sequence number"}',
    b'{"kind":"note","seq":0,"text":"x"}',
    b'{"kind":"note","seq":-1,"text":"x"}',
    b'{"v":1,"kind":"note","seq":1}',
    b'{"kind":"hologram","seq":true}',
    b'{"kind":"hologram","seq":1,"v":"two"}',
    b'{"kind":"hologram","seq":1,"at":' + b"9" * 400 + b"}",
    b'{"kind":"hologram","seq":' + b"9" * 5000 + b"}",
    b'{"kind":"note","seq":' + b"9" * 30 + b',"text":"x"}',
    b'{"kind":"note","seq":1,"text":"\xff"}',
    b'{"kind":"note","seq":1,"text":"\\ud800"}',
    b'{"kind":"note","seq":1}',
    b'{"v":-1,"kind":"note","seq":1,"text":"x"}',
    b'{"v":1,"kind":"note","seq":1,"at":-1,"text":"x"}',
    b'{"v":1,"kind":"note","seq":1,"at":1e11,"text":"x"}',
    b'{"v":1,"kind":"metrics","seq":1,"step":1.5,"values":{}}',
    b'{"v":1,"kind":"metrics","seq":1,"step":9223372036854775808,"values":{}}',
    b'{"v":1,"kind":"metrics","seq":1,"step":1,"values":{"loss":1e999}}',
    b'{"v":1,"kind":"params","seq":1,"values":{"x":{"$float":[]}}}',
    b'{"v":1,"kind":"params","seq":1,"values":{"x":[1,{"$float":"nan"}]}}',
    b'{"v":1,"kind":"params","seq":1,"values":{"x":1%s}}' % (b"0" * 400),
    b'{"v":1,"kind":"environment","seq":1,"values":{"x":[{"y":-1%s}]}}' % (b"0" * 400),
    b'{"v":1,"kind":"dataset","seq":1,"name":"d","role":"train","rows":-1}',
    b'{"v":1,"kind":"dataset","seq":1,"name":"d","role":"train","profile":{"x":1%s}}' % (b"0" * 400),
    b'{"v":1,"kind":"artifact","seq":1,"name":"a","type":"file","digest":"d","size":9223372036854775808,"filename":"f"}',
    b'{"v":1,"kind":"artifact","seq":1,"name":"a","type":"file","digest":"d","size":1,"filename":"f","meta":{"x":1%s}}'
    % (b"0" * 400),
    b'{"v":1,"kind":"link","seq":1,"relation":"used","target":"t","meta":{"x":1%s}}' % (b"0" * 400),
    b'{"v":1,"kind":"run.end","seq":1,"status":"finished\\u001b]0;x\\u0007"}',
    b'{"v":1,"kind":"run.end","seq":1,"status":"finished\\n"}',
    b'{"v":1,"kind":"run.end","seq":1,"status":"finished","seconds":1e300}',
    START + b'"pid":4294967296,"born":1}',
    START + b'"pid":-1,"born":1}',
    START + b'"pid":1,"born":1,"rank":4294967296}',
    b'{"v":1,"kind":"params","seq":1,"values":{"x":' + b"[" * 101 + b"]" * 101 + b"}}",
    b'{"v":2,"kind":"hologram","seq":1,"x":' + b"[" * 101 + b"]" * 101 + b"}",
    b'{"v":1,"kind":"metrics","seq":1,"step":1,"values":{"loss":"NaM"}}',
    DEEP,
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", WRONG, ids=lambda line: repr(line[:50]))
def test_what_is_no_event_raises_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


@given(st.binary() | st.builds(json.dumps, JSON).map(str.encode))
def test_garbage_raises_nothing_but_value_error(line: bytes) -> None:
    try:
        event = decode(line)
    except ValueError:
        return
    assert event.seq > 0


@given(EVENTS, st.data())
def test_a_line_with_damaged_bytes_reads_or_raises_value_error(event: Event, data: st.DataObject) -> None:
    line = bytearray(encode(event))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        decoded = decode(bytes(line))
    except ValueError:
        return
    if isinstance(decoded, Metrics):
        assert all(isinstance(events.number(value), float) for value in decoded.values.values())
