"""What the API can do, as a table: each operation with what it takes and answers, for its description in OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tachograph.server.api import path_names
from tachograph.server.api.bodies import BYTES, JSON, LINES, PART
from tachograph.server.api.upkeep import MOST_DAYS

Schema = dict[str, Any]


class Operation(NamedTuple):
    """A method of an address. ``answers`` are by their status; ``refusals`` are the statuses that it may be refused
    with, beside those of every operation. ``is_explained``: a refusal has a body that says why. ``is_open``: no token
    is needed."""

    method: str
    path: str
    id: str
    summary: str
    answers: Mapping[int, Schema]
    parameters: Sequence[Schema] = ()
    refusals: Sequence[int] = ()
    body: Schema | None = None
    is_explained: bool = True
    is_open: bool = False


# -- how schemas are written --


def content(media_type: str, schema: Schema) -> Schema:
    """A body of that type."""
    return {"content": {media_type: {"schema": schema}}}


def json_content(schema: Schema) -> Schema:
    """A body in JSON."""
    return content(JSON, schema)


def ref(name: str) -> Schema:
    """The schema of that name in the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: list[str], /, **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _parameter(name: str, schema: Schema, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _header(name: str, schema: Schema, required: bool = False) -> Schema:
    return _parameter(name, schema, required) | {"in": "header"}


def _in_path(name: str, pattern: str | None, description: str = "") -> Schema:
    schema = {"type": "string", **({"pattern": pattern} if pattern else {"minLength": 1})}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


# -- schemas --

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_DIGEST: Schema = {"type": "string", "pattern": path_names.DIGEST}
_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}

REFUSAL = _object(
    ["reason"],
    reason=_TEXT,
    query={"type": "boolean", "description": "With 400: that it is where or order_by that can't be read."},
    reading={
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "With 503: questions wait until what is new was read, of which so much is done.",
    },
    position={**_COUNT, "description": "With 409: the number of the last event that is held."},
    offset={**_COUNT, "description": "With 409: how many bytes of the upload are held."},
    rejected=_list(_object(["line", "reason"], line={"type": "integer", "minimum": 1}, reason=_TEXT)),
)
RUN = _object(
    ["id", "name", "experiment", "status", "started", "ended", "params", "metrics", "tags"],
    id=_TEXT, name=_TEXT, experiment={"type": ["string", "null"]},
    status={"enum": ["running", "finished", "failed", "interrupted", "crashed"]}, started=_TIME, ended=_TIME,
    params={"type": "object"}, metrics={"type": "object", "additionalProperties": _NUMBER},
    tags={"type": "object", "additionalProperties": _TEXT},
)  # fmt: skip
_HISTORY = _object(
    ["run", "name", "steps", "times", "values"], run=_TEXT, name=_TEXT,
    steps=_list({"type": "integer"}), times=_list({"type": "number"}), values=_list(_NUMBER),
)  # fmt: skip
_POSITIONS = _object(["run", "positions"], run=_TEXT, positions={"type": "object", "additionalProperties": _COUNT})
_STORED = _object(["position", "stored"], position=_COUNT, stored=_COUNT)
_DIGESTS = _list(_DIGEST)
_MISSING = _object(["missing"], missing=_DIGESTS)
_OFFSET = _object(["offset"], offset=_COUNT)
_OFFSET_HEADERS: Schema = {"headers": {"Upload-Offset": {"schema": _COUNT}, "Upload-Complete": {"schema": _TEXT}}}
_UPLOAD: Schema = {**json_content(_OFFSET), **_OFFSET_HEADERS}
_PART = [
    _header("Upload-Offset", {**_COUNT, "maximum": 10**15 - 1}, required=True),
    _header("Upload-Complete", {"enum": ["?0", "?1"]}, required=True),
]
_KEPT = _object(["digest", "size"], digest=_DIGEST, size=_COUNT)
_AFTER = _parameter("after", {**_COUNT, "maximum": 10**18 - 1}) | {
    "description": "The number of the last event that the sender knows to be held. Left out: the one before the first."
}
_HEALTH = _object(
    ["status", "done"], status={"enum": ["ready", "reading"]}, done={"type": "number", "minimum": 0, "maximum": 1}
)
_DAYS: Schema = {**_COUNT, "maximum": MOST_DAYS, "default": 30}
_REMOVED = _object(["removed"], removed=_list(_object(["id", "name"], id=_TEXT, name=_TEXT)))
_NEXT_PAGE = {
    "headers": {"Link": {"schema": _TEXT, "description": "With rel=next, the address of the runs after these."}}
}
_QUERY = [
    _parameter("experiment", _TEXT),
    _parameter("where", _TEXT),
    _parameter("order_by", _TEXT),
    _parameter("limit", {**_COUNT, "maximum": 10**9 - 1}),
    _parameter("children", {"type": "boolean"}),
    _parameter("cursor", _TEXT),
]
_ID = _in_path("run", path_names.NAME)
_KEY = _in_path("run", None, 'an id, a unique beginning of it, a name, or "latest"')
_WRITER = _in_path("writer", path_names.NAME)
_DIGEST_IN_PATH = _in_path("digest", path_names.DIGEST)
_OF_UPLOAD = [
    _DIGEST_IN_PATH,
    _in_path("upload", path_names.UPLOAD, "a name that the sender chooses, and finds again"),
]

# -- the table --

OPERATIONS = [
    Operation(
        "get", "/openapi.json", "describe", "This document", {200: json_content({"type": "object"})}, is_open=True
    ),
    Operation(
        "get", "/health", "health",
        "Whether questions are answered, or wait for what is new to be read; `done` of that is, from 0 to 1",
        {200: json_content(_HEALTH)}, refusals=[503], is_open=True,
    ),
    Operation(
        "get", "/runs", "runs",
        "Runs, the newest first. Where there are more than one answer has, its `Link` leads on.",
        {200: {**json_content(_list(ref("Run"))), **_NEXT_PAGE}}, _QUERY, [400],
    ),
    Operation(
        "get", "/runs/{run}", "run", "All that is known of a run",
        {200: json_content(ref("Run"))}, [_KEY], [404],
    ),
    Operation(
        "delete", "/runs/{run}", "remove",
        "Remove the run of that id with all below it, for good; its files go with the next collection. A run that is "
        "still running is refused (409) but with `force`. Needs the role admin.",
        {200: json_content(_REMOVED)}, [_ID, _parameter("force", {"type": "boolean"})], [400, 404, 409, 410, 503],
    ),
    Operation(
        "post", "/collect", "collect",
        "Delete files that nothing refers to any more, and compress old journals, as `tachograph gc` does. While that "
        "takes long, empty lines come before the answer. Needs the role admin.",
        {200: json_content(ref("Collected"))},
        [_parameter("dry_run", {"type": "boolean"}), _parameter("compress_after", _DAYS)], [400, 503],
    ),
    Operation(
        "get", "/runs/{run}/history", "history", "The points of a metric",
        {200: json_content(_HISTORY)},
        [_KEY, _parameter("name", {"type": "string", "minLength": 1}, required=True)], [400, 404],
    ),
    Operation(
        "get", "/runs/{run}/stream", "stream", "A run's events as they come, as server-sent events",
        {200: content("text/event-stream", _TEXT)}, [_ID, _header("Last-Event-ID", _TEXT)], [400, 404, 503],
    ),
    Operation(
        "get", "/runs/{run}/positions", "positions", "How far each writer's events are held",
        {200: json_content(_POSITIONS)}, [_ID], [400],
    ),
    Operation(
        "post", "/runs/{run}/writers/{writer}/events", "send",
        "Send events, one JSON object a line, in rising order of seq; may be compressed with gzip. What is held "
        "already is left as it is. All are stored, for good, or none.",
        {200: json_content(_STORED)}, [_ID, _WRITER, _AFTER], [400, 408, 409, 410, 413, 415, 422],
        body=content(LINES, _TEXT),
    ),
    Operation(
        "post", "/missing", "missing", "Which of these digests are not held",
        {200: json_content(_MISSING)}, refusals=[400, 408, 413, 415, 422], body=json_content(_DIGESTS),
    ),
    Operation(
        "get", "/blobs/{digest}", "blob", "A file, or a range of it",
        {200: content(BYTES, {}), 206: content(BYTES, {})}, [_DIGEST_IN_PATH, _header("Range", _TEXT)],
        [400, 404, 416],
    ),
    Operation(
        "head", "/blobs/{digest}", "blobSize", "Whether a file is held, and how long it is",
        {200: {"content": {}}}, [_DIGEST_IN_PATH], [400, 404, 416], is_explained=False,
    ),
    Operation(
        "put", "/blobs/{digest}", "putBlob", "Keep a file, if it has that digest",
        {200: json_content(_KEPT), 201: json_content(_KEPT)}, [_DIGEST_IN_PATH], [400, 408, 413, 415, 422],
        body=content(BYTES, {}),
    ),
    Operation(
        "get", "/blobs/{digest}/uploads/{upload}", "upload",
        "How much of an upload has come, in the shape of the IETF's Resumable Uploads for HTTP",
        {200: _UPLOAD}, _OF_UPLOAD, [400, 503],
    ),
    Operation(
        "head", "/blobs/{digest}/uploads/{upload}", "uploadOffset", "The same, in `Upload-Offset` alone",
        {200: _OFFSET_HEADERS}, _OF_UPLOAD, [400, 503], is_explained=False,
    ),
    Operation(
        "patch", "/blobs/{digest}/uploads/{upload}", "goOn",
        "Add a part to an upload, from `Upload-Offset` on. With the last one (`Upload-Complete: ?1`) the file is kept, "
        "if it has that digest, and else thrown away.",
        {200: {**json_content({"anyOf": [_OFFSET, _KEPT]}), **_OFFSET_HEADERS}, 201: json_content(_KEPT)},
        [*_OF_UPLOAD, *_PART], [400, 408, 409, 413, 415, 422, 503], body=content(PART, {}),
    ),
    Operation(
        "delete", "/blobs/{digest}/uploads/{upload}", "dropUpload", "Throw an upload away",
        {200: _UPLOAD}, _OF_UPLOAD, [400, 503],
    ),
]  # fmt: skip
