"""The endpoints that answer questions: runs, histories, files."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tachograph.errors import NotFound, QueryError
from tachograph.server.api import bodies, path_names
from tachograph.server.api.access import Endpoint
from tachograph.server.api.bodies import BYTES
from tachograph.server.api.limits import Limits
from tachograph.server.api.responses import Refused, document
from tachograph.server.storage import Storage
from tachograph.store import wire_format
from tachograph.store.document import of_everything, of_run, plain
from tachograph.store.questions import Query
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

RUNS = 1000  # in one answer at most
QUERY = {"experiment", "where", "order_by", "limit", "children", "cursor"}
QUESTION_BYTES = 1 << 20

T = TypeVar("T")

_is_range = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII).fullmatch


class Asking:
    """The endpoints for readers."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self._storage, self._limits = storage, limits

    def question(self, name: str) -> Endpoint:
        """The endpoint that answers one of the questions that :mod:`tachograph.store.wire_format` knows."""

        async def answer(request: Request) -> Response:
            most, patience = QUESTION_BYTES, self._limits.patience
            body = await bodies.plain(request, wire_format.MEDIA_TYPE, most, most, patience)
            arguments = _arguments(name, body)
            content = await self._answer(lambda store: wire_format.encode(_answer_of(store, name, arguments)))
            return Response(content, media_type=wire_format.MEDIA_TYPE)

        return answer

    async def runs(self, request: Request) -> Response:
        """A list of runs; the header ``Link`` has the address of those after them."""
        query, cursor, limit = _query(request)
        runs, after = await self._answer(lambda store: _listed(store, query, cursor, min(limit, RUNS)))
        headers = {}
        if after is not None and limit > RUNS:
            more = {"cursor": after, "limit": limit - RUNS}
            headers["Link"] = f'<{request.url.include_query_params(**more).replace(scheme="", netloc="")}>; rel="next"'
        return document(runs, headers=headers)

    async def run(self, request: Request) -> Response:
        key = request.path_params["run"]
        return await self._document(lambda store: plain(of_everything(store.run(key))))

    async def history(self, request: Request) -> Response:
        key, metric = request.path_params["run"], request.query_params.get("name")
        if not metric:
            raise Refused(400, "name says which metric")
        return await self._document(lambda store: _history(store.run(key), metric))

    async def _document(self, question: Callable[[Store], Any]) -> Response:
        """The answer to a question, which is made of plain values, as JSON."""
        return document(await self._answer(question))

    async def _answer(self, question: Callable[[Store], T]) -> T:
        try:
            return await run_sync(self._storage.ask, question)
        except NotFound as error:
            raise Refused(404, str(error)) from None
        except QueryError as error:
            raise Refused(400, str(error), query=True) from None

    async def blob(self, request: Request) -> Response:
        """A file or a part of it; for HEAD only its headers."""
        digest = path_names.digest(request.path_params["digest"])
        size = await run_sync(self._storage.blob_size, digest)
        if size is None:
            raise Refused(404, "there is no file of that digest")
        start, end, status = _range(request.headers.get("range"), size)
        headers = {
            "Content-Length": str(end - start),
            "Accept-Ranges": "bytes",
            "ETag": f'"{digest}"',
            "Cache-Control": "private, max-age=31536000, immutable",
            "Content-Disposition": "attachment",
        }
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        if request.method == "HEAD":
            return Response(None, status, headers, BYTES)
        content = self._storage.read_blob(digest, start, end - start)
        return StreamingResponse(content, status, headers, BYTES)


def _history(run: RunRecord, metric: str) -> dict[str, Any]:
    points = run.history(metric)
    values = points.values.tolist()
    return {
        "run": run.id, "name": metric, "steps": points.steps.tolist(), "times": points.times.tolist(),
        "values": values if all(map(isfinite, values)) else plain(values),
    }  # fmt: skip


def _arguments(question: str, body: bytes) -> tuple[Any, ...]:
    try:
        return wire_format.form(question).arguments.decode(body)
    except ValueError as error:
        raise Refused(422, f"that is not what this question takes: {error}") from None


def _answer_of(store: Store, question: str, arguments: tuple[Any, ...]) -> Any:
    """The answer to a question. Readers begin with some of them: those answers must have all that was recorded until
    now, while later parts go on from there."""
    if question in ("find", "experiments") or (question in ("runs", "states", "damage") and arguments[-2] is None):
        store.refresh()
    return getattr(store.questions, question)(*arguments)


def _listed(store: Store, query: Query, cursor: str | None, limit: int) -> tuple[list[Any], str | None]:
    store.refresh()
    rows, after = store.questions.runs(query, cursor, limit)
    return plain([of_run(run) for run in store.records(rows)]), after


def _query(request: Request) -> tuple[Query, str | None, int]:
    """Which runs are asked for, the cursor to go on from, and how many at most."""
    parameters = request.query_params
    if unknown := parameters.keys() - QUERY:
        raise Refused(400, f"there is no parameter {sorted(unknown)[0]!r}: there are {', '.join(sorted(QUERY))}")
    limit = parameters.get("limit", str(RUNS))
    if not (limit.isascii() and limit.isdecimal()) or len(limit) > 9:
        raise Refused(400, "limit is a number of runs, 0 or more")
    children = parameters.get("children", "false")
    if children not in ("true", "false"):
        raise Refused(400, "children is true or false")
    texts = {name: parameters.get(name) for name in ("experiment", "where", "order_by")}
    return Query(**texts, children=children == "true"), parameters.get("cursor"), int(limit)


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    """The first byte, the end, and the status. A header with several ranges is answered with the whole file."""
    match = _is_range(header or "")
    if match is None or match.group() == "bytes=-":
        return 0, size, 200
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < start:
        return 0, size, 200  # no range at all
    if start >= end:
        raise Refused(416, f"the file has {size} bytes")
    return start, end, 206
