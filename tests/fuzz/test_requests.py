"""Requests made up at random, as many as FUZZ_COUNT says, to a server with a folder and to one with PostgreSQL: it
never fails (5xx), and what it held before stays as it was.

They are carried out in this process. What fails is told with its number; FUZZ_FIRST begins there.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from tests.parts.mutated import ODD, mutated, recorded
from tests.parts.reading import LOSSES

from tachograph.server.api.app import build
from tachograph.server.api.limits import Limits
from tachograph.store import wire_format

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0)]

LINES, JSON = "application/x-ndjson", "application/json"
Asked = tuple[str, str, str, bytes]  # method, path with its query, type of the body, body
WHERE = [
    "metrics.loss < 0.5",
    "params.lr = 0.1",
    "tags.a like 'b%'",
    "name = 'good'",
    "started > '2020-01-01'",
    "(",
    "'",
]
NAMES = ["loss", "odd", "system/cpu", "rank1/loss", "x"]


def text(chance: random.Random) -> str:
    known = ["good", "good", "bad-0", "bad-1", "bad-2", "0-h-1-aaaaaa", "e", "loss", "latest", "good-0"]
    odd = [one for one in ODD if isinstance(one, str) and one.isascii()]
    return chance.choice(known) if chance.random() < 0.7 else chance.choice(odd)


def event_batch(chance: random.Random) -> Asked:
    run = f"bad-{chance.randrange(20)}"
    lines = mutated(run, chance).splitlines(keepends=True)
    start = chance.choice([0, 0, 0, chance.randrange(len(lines) + 1)])
    path = f"/runs/{run}/writers/0-h-{chance.randrange(3)}-a/events"
    after = f"?after={chance.choice([0, start, 10**17, 'x', -1])}" if chance.random() < 0.3 else ""
    content = b"".join(lines[start : start + chance.choice([1, 3, 99])])
    return "POST", path + after, LINES, content.replace(b"0-h-1-aaaaaa", b"0-h-1-a")


def an_argument(name: str, chance: random.Random) -> Any:
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if name in ("ids", "metrics"):
        return [text(chance) for _ in range(chance.choice([0, 1, 3, 1000]))]
    if name == "query":
        fields = {
            "where": chance.choice(WHERE),
            "order_by": text(chance),
            "parent": text(chance),
            "keeps": text(chance),
        }
        chosen = chance.sample(sorted(fields), chance.randrange(4))
        return {"children": True, **{one: fields[one] for one in chosen}}
    if name == "limit":
        return chance.choice([0, 1, 2, 100, 10**4, 2**63, -1])
    if name == "after":
        parts = [1.7e9, "good", "loss", "0-h-1-a", 0, 2**63 - 1, 2**64 - 1, -1, float("nan"), float("inf")]
        return chance.choice([None, None, [chance.choice(parts) for _ in range(chance.randint(1, 4))], cursor(chance)])
    if name == "kind":
        return chance.choice(["note", "console", "artifact", "hologram", "x"])
    return chance.random() < 0.5 if name in ("torn", "system", "newest") else text(chance)


def cursor(chance: random.Random) -> str:
    import base64

    parts = [1.7e9, "good", None, 0, 2**64 - 1, -(2**63), float("nan"), float("inf"), "\0", "x"]
    packed = msgspec.msgpack.encode([chance.choice(parts) for _ in range(chance.randint(1, 5))])
    return base64.urlsafe_b64encode(packed).decode()


def a_question(chance: random.Random) -> Asked:
    import inspect

    from tachograph.store.questions import Questions

    name = chance.choice(list(wire_format.MOST))
    wanted = list(inspect.signature(getattr(Questions, name)).parameters)[1:]
    asked = [an_argument(one, chance) for one in wanted]
    try:
        body = msgspec.msgpack.encode(asked)
    except (OverflowError, UnicodeEncodeError):
        body = chance.randbytes(20)
    return "POST", f"/questions/{name}", wire_format.MEDIA_TYPE, body


def a_look(chance: random.Random) -> Asked:
    run = quote(text(chance), safe="")
    query = "&".join(
        f"{one}={quote(str(value), safe='')}"
        for one, value in (
            ("where", chance.choice([*WHERE, f"metrics.loss < {10**400}", f"params.lr = {2**64}", "name in ('a')"])),
            ("order_by", chance.choice(["metrics.loss desc", "params.lr, name", "started", "params.none", "x"])),
            ("limit", chance.choice([0, 1, 5, 10**9, "x"])), ("children", chance.choice(["true", "false", "1"])),
            ("cursor", cursor(chance)), ("experiment", text(chance)),
        )
        if chance.random() < 0.3
    )  # fmt: skip
    path = chance.choice(
        [f"/runs?{query}", f"/runs/{run}", f"/runs/{run}/positions", "/health", f"/blobs/{run}", f"/runs/{run}/history",
         f"/runs/{run}/history?name={quote(chance.choice([*NAMES, text(chance)]), safe='')}"]
    )  # fmt: skip
    return chance.choice(["GET", "GET", "GET", "HEAD", "PUT"]), path, JSON, b""


def a_removal(chance: random.Random) -> Asked:
    return "DELETE", f"/runs/bad-{chance.randrange(20)}?force={chance.choice(['true', 'false'])}", JSON, b""


def a_missing(chance: random.Random) -> Asked:
    body = json.dumps([chance.choice(ODD) for _ in range(chance.randrange(4))]).encode()
    return "POST", "/missing", JSON, chance.choice([body, chance.randbytes(9)])


KINDS = [event_batch] * 6 + [a_question] * 6 + [a_look] * 6 + [a_removal, a_missing]


def request(number: int) -> Asked:
    chance = random.Random(number)
    return chance.choice(KINDS)(chance)


async def answer(app: Any, asked: Asked) -> tuple[int, bytes]:
    """Status and content."""
    method, path, kind, body = asked
    plain, _, query = f"/api/v1{path}".partition("?")
    from urllib.parse import unquote

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(plain), "raw_path": plain.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", kind.encode())], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def ask_all(app: Any) -> None:
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in recorded("good"))
    good = ("POST", "/runs/good/writers/0-h-1-aaaaaa/events", LINES, lines)
    assert (await answer(app, good))[0] == 200
    first, count = int(os.environ.get("FUZZ_FIRST", "0")), int(os.environ.get("FUZZ_COUNT", "100000"))
    told: dict[int, int] = {}
    failed = 0
    for number in range(first, first + count):
        asked = request(number)
        try:
            status, _ = await answer(app, asked)
        except Exception as error:  # noqa: BLE001 - all of them are told, at the end
            status = 500
            print(f"request {number}: {asked[0]} {asked[1][:200]}: {error!r}"[:600], flush=True)
        told[status] = told.get(status, 0) + 1
        failed += status >= 500
    _, content = await answer(app, ("GET", "/runs/good/history?name=loss", JSON, b""))
    assert json.loads(content)["values"] == LOSSES
    print({status: told[status] for status in sorted(told)})
    assert not failed, f"{failed} of {count} requests"


def check(storage: Any, tokens: Any) -> None:
    storage.begin()
    limits = Limits(rate=1e9, burst=1e9)
    asyncio.run(ask_all(build(storage, tokens, local=True, limits=limits)))


def test_no_request_makes_a_server_on_a_folder_fail(tmp_path: Path) -> None:
    from tachograph.server.folder.storage import FolderStorage
    from tachograph.server.tokens import FolderTokens

    root = tmp_path / "served"
    root.mkdir()
    check(FolderStorage(root), FolderTokens(root))


def test_no_request_makes_a_server_on_postgresql_fail(tmp_path: Path) -> None:
    from tests.parts import postgres

    from tachograph.server.postgres import opening

    _, storage, tokens = opening.open_database(postgres.running().new_database(), None, tmp_path / "served")
    check(storage, tokens)
