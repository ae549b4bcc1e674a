"""Which lines are taken, and what is said of the others."""

from __future__ import annotations

import pytest
from tests.integrations.server.serving import lines

from tachograph.server.api import batch
from tachograph.server.api.responses import Refused

GOOD = lines("r", "w", 3)


def refusal(*sent: bytes, longest: int = 1000) -> Refused:
    with pytest.raises(Refused) as refused:
        batch.read("r", "w", b"\n".join(sent), longest)
    assert refused.value.status == 422
    return refused.value


def test_good_lines_are_kept_as_they_are():
    unknown = b'{"kind":"dream","v":9,"seq":77,"at":1.5,"what":["sheep"]}'
    found = batch.read("r", "w", b"\n".join([*GOOD, unknown]) + b"\n", 1000)
    assert list(found.lines) == [*GOOD, unknown]
    assert list(found.seqs) == [1, 2, 3, 4, 5, 77]
    assert found.after(3).seqs == [4, 5, 77]
    assert found.after(100).lines == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "truncated"),
        (b"nonsense", "malformed"),
        (b"[1]", "object"),
        (b'{"kind":"metrics","v":1,"seq":9}', "missing|required"),
        (b'{"kind":"note","v":1,"seq":0,"at":1,"text":"a"}', "`$.seq`"),
        (b'{"kind":"note","v":1,"seq":9223372036854775808,"at":1,"text":"a"}', "."),
        (b'{"kind":"note","v":1,"seq":9,"at":1,"text":"' + b"a" * 1000 + b'"}', "longer than 1000"),
        (b'{"kind":"x","seq":9,"deep":' + b"[" * 400 + b"]" * 400 + b"}", "."),
        (lines("other", "w", 0)[0].replace(b'"seq":1', b'"seq":9'), "another run"),
        (lines("r", "other", 0)[0].replace(b'"seq":1', b'"seq":9'), "another run or writer"),
        (GOOD[1], "does not come after"),
    ],
)
def test_each_wrong_line_is_told(line, reason):
    if line.startswith(b'{"kind":"x"'):
        line = line.replace(b"[" * 400, b"[" * 100_000).replace(b"]" * 400, b"]" * 100_000)
        told = refusal(*GOOD, line, longest=1_000_000)
    elif line.startswith(b'{"kind":"metrics"'):
        line = b'{"kind":"note","v":1,"seq":9}'
        told = refusal(*GOOD, line)
    else:
        told = refusal(*GOOD, line, *(lines("r", "w", 20)[10:12]))
    assert [one["line"] for one in told.facts["rejected"]] == [6]
    assert "\n" not in told.reason


def test_an_empty_body_and_one_that_is_no_text():
    assert "no events" in refusal(b"").reason
    told = refusal(GOOD[0], b'{"kind":"note","v":1,"seq":9,"at":1,"text":"a","more":"\xff"}')
    assert told.facts["rejected"] == [{"line": 2, "reason": "it is not UTF-8"}]


def test_of_very_many_wrong_lines_the_first_are_told():
    assert len(refusal(*[b"x"] * 1000).facts["rejected"]) == batch.MOST_LISTED
