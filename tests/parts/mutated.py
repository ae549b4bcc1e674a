"""Journals that were recorded, and then changed: values replaced, bytes flipped, lines doubled, cut, gone."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

DEEP: Any = 1
for _ in range(150):
    DEEP = [DEEP]
# Values where others are expected. Names of other runs make parents that stand in circles.
ODD: list[Any] = [
    None, True, 0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e-320, 1e15, 1e308,
    "", "\0", "\x1b]0;x\x07", "\ud800", "\u202e", "a" * 5000, "NaN", "../../up", "sha256:zz", "sha256:" + "0" * 64,
    "run.start", "run.end", "metrics", "witness", "worker", "bad-0", "bad-1", "http://[", [], [1, "a", None], {},
    {"a": {"b": []}}, {"$float": []}, {"$float": "NaN"}, {"$float": "x"}, [{"$float": {}}], DEEP, [[1e308], [10**400]],
]  # fmt: skip
WRITER = "0-h-1-aaaaaa"


def recorded(run: str, parent: str | None = None) -> list[dict[str, Any]]:
    """An event of each kind, and some more points."""
    digest = f"sha256:{7:064x}"
    happened: list[dict[str, Any]] = [
        {"kind": "run.start", "run": run, "writer": WRITER, "role": "owner", "host": "h", "boot": "b", "pid": 1,
         "born": 1, "name": run, "experiment": "e", "parent": parent, "version": "1", "sinks": ["http://localhost:1"]},
        {"kind": "params", "values": {"lr": 0.1, "layers": [1, [2]], "nan": {"$float": "NaN"}, "on": True,
         "none": None}},
        {"kind": "tags", "values": {"a": "b"}},
        {"kind": "environment", "values": {"python": "3.11", "argv": ["x"], "git": {"commit": "c", "dirty": True},
         "gpus": [{"name": "g", "memory": 10}], "memory": 100, "packages": {"numpy": "2"}, "cpu": {"cores": 2}}},
        {"kind": "dataset", "name": "d", "role": "train", "digest": digest, "rows": 3, "columns": 2, "source": "s",
         "profile": {"schema": {"a": "int64"}, "classes": {"x": 1}, "missing": {"a": 1}}},
        *({"kind": "metrics", "step": step, "values": {"loss": 1 / (step + 1), "odd": "NaN"}} for step in range(6)),
        {"kind": "metrics", "step": 3, "values": {"system/cpu": 50.0}},
        {"kind": "artifact", "name": "m", "type": "model", "digest": digest, "size": 3, "filename": "m.bin",
         "meta": {"loader": "x"}},
        {"kind": "artifact", "name": "f", "type": "folder", "digest": digest, "size": 3, "filename": "f",
         "members": [{"path": "a/b", "digest": digest, "size": 3}]},
        {"kind": "release", "digests": [digest], "reason": "r"},
        {"kind": "link", "relation": "used", "target": digest, "meta": {"path": "/x"}},
        {"kind": "note", "text": "n"},
        {"kind": "console", "stream": "stdout", "text": "a\nb"},
        {"kind": "hologram", "v": 9, "fields": [1]},
        {"kind": "run.end", "status": "failed", "error": {"type": "E", "message": "m"}, "seconds": 1.5,
         "overhead": 0.1},
    ]  # fmt: skip
    return [{"v": 1, "seq": seq, "at": 1.7e9 + seq, **event} for seq, event in enumerate(happened, start=1)]


def mutated(run: str, chance: random.Random) -> bytes:
    """The journal of a run, with a few of its lines, or bytes, not as they were."""
    happened = recorded(run, chance.choice([None, None, "bad-0", "bad-1", "bad-2", run]))
    for _ in range(chance.randint(0, 3)):
        _change(chance.choice(happened), chance)
    lines = [json.dumps(event).encode() for event in happened]
    for _ in range(chance.randint(0, 2)):
        _harm(lines, chance)
    content = bytearray(b"".join(line + b"\n" for line in lines))
    for _ in range(chance.choice([0, 0, 1, 3])):
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    return bytes(content[: chance.randrange(len(content))] if chance.random() < 0.1 else content)


def _change(event: dict[str, Any], chance: random.Random) -> None:
    """Replace a value of an event, at any depth, or take it away."""
    one: Any = event
    while True:
        keys = list(one) if isinstance(one, dict) else list(range(len(one)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(one[key], dict | list) and one[key] and chance.random() < 0.7:
            one = one[key]
            continue
        if chance.random() < 0.2:
            del one[key]
        elif isinstance(one, dict) and chance.random() < 0.1:
            one[str(chance.choice(ODD))] = one.pop(key)
        else:
            one[key] = deepcopy(chance.choice(ODD))
        return


def _harm(lines: list[bytes], chance: random.Random) -> None:
    spot = chance.randrange(len(lines))
    line = lines[spot]
    lines[spot : spot + 1] = chance.choice(
        [[line, line], [], [line[: chance.randrange(len(line) + 1)]], [b"", line], [line + line], [b"\xff\xfe", line],
         [line[::-1]], [b"[" * 5000, line], [b"null"], [chance.randbytes(30).replace(b"\n", b""), line]]
    )  # fmt: skip


def write(root: Path, run: str, content: bytes) -> None:
    """A journal of that content."""
    folder = root / "runs" / run / WRITER
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(content)
