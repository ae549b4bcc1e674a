"""The description of the API, for people's and programs' tools."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

import msgspec

from tachograph.server.api import path_names
from tachograph.server.api.bodies import BYTES, JSON, LINES, PART
from tachograph.server.api.upkeep import MOST_DAYS
from tachograph.server.tokens import ROLES
from tachograph.store import wire_format
from tachograph.store.questions import Questions
from tachograph.upkeep import Collected

Schema = dict[str, Any]

REASONS = {
    400: "The request is not as it has to be.",
    401: "A valid token is needed.",
    403: "The token's role does not allow this.",
    404: "There is no such thing.",
    408: "The body took too long to come.",
    409: "What comes before is missing: send from after event `position` on, of a file from byte `offset` on. Of a run "
    "that is to be removed: it is still running.",
    410: "The run was removed.",
    413: "The body is too large.",
    415: "The media type or the content encoding is not taken.",
    416: "The file has no such range.",
    422: "The content is not taken.",
    429: "Too many requests: come again after `Retry-After` seconds.",
    503: "Too busy: come again after `Retry-After` seconds.",
    507: "The store can't be written or read now: come again after `Retry-After` seconds.",
}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The document: OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tachograph",
            "version": "1",
            "description": f"Records of model training. Roles, each may what those before may: {', '.join(ROLES)}.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": {f"/api/v1{path}": item for path, item in (_paths() | _questions()).items()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Refusal": _REFUSAL, "Run": _RUN, **_types()[1]},
        },
    }


def _paths() -> dict[str, Any]:
    run, writer = _in_path("run", path_names.NAME), _in_path("writer", path_names.NAME)
    key = _in_path("run", None, 'an id, a unique beginning of it, a name, or "latest"')
    digest = _in_path("digest", path_names.DIGEST)
    upload = [digest, _in_path("upload", path_names.UPLOAD, "a name that the sender chooses, and finds again")]
    return {
        "/openapi.json": {
            "get": _operation("describe", "This document", {200: _json({"type": "object"})}, [], security=[])
        },
        "/health": {
            "get": _operation("health", "Whether questions are answered, or wait for what is new to be read; `done` of "
                              "that is, from 0 to 1", {200: _json(_HEALTH)}, [], 503, security=[])
        },
        "/runs": {
            "get": _operation(
                "runs", "Runs, the newest first. Where there are more than one answer has, its `Link` leads on.",
                {200: {**_json({"type": "array", "items": _ref("Run")}), **_NEXT}}, _QUERY, 400,
            )
        },
        "/runs/{run}": {
            "get": _operation("run", "All that is known of a run", {200: _json(_ref("Run"))}, [key], 404),
            "delete": _operation(
                "remove", "Remove the run of that id with all below it, for good; its files go with the next "
                "collection. A run that is still running is refused (409) but with `force`. Needs the role admin.",
                {200: _json(_REMOVED)}, [run, _parameter("force", {"type": "boolean"})], 400, 404, 409, 410, 503,
            ),
        },
        "/collect": {
            "post": _operation(
                "collect", "Delete files that nothing refers to any more, and compress old journals, as `tachograph "
                "gc` does. While that takes long, empty lines come before the answer. Needs the role admin.",
                {200: _json(_ref("Collected"))},
                [_parameter("dry_run", {"type": "boolean"}), _parameter("compress_after", _DAYS)], 400, 503,
            )
        },
        "/runs/{run}/history": {
            "get": _operation(
                "history", "The points of a metric", {200: _json(_HISTORY)},
                [key, _parameter("name", {"type": "string", "minLength": 1}, required=True)], 400, 404,
            )
        },
        "/runs/{run}/stream": {
            "get": _operation(
                "stream", "A run's events as they come, as server-sent events",
                {200: _content("text/event-stream", {"type": "string"})},
                [run, {**_parameter("Last-Event-ID", {"type": "string"}), "in": "header"}], 400, 404, 503,
            )
        },
        "/runs/{run}/positions": {
            "get": _operation(
                "positions", "How far each writer's events are held", {200: _json(_POSITIONS)}, [run], 400
            )
        },
        "/runs/{run}/writers/{writer}/events": {
            "post": _operation(
                "send", "Send events, one JSON object a line, in rising order of seq; may be compressed with gzip. "
                "What is held already is left as it is. All are stored, for good, or none.",
                {200: _json(_STORED)},
                [run, writer, _AFTER], 400, 408, 409, 410, 413, 415, 422, body=_content(LINES, {"type": "string"}),
            )
        },
        "/missing": {
            "post": _operation(
                "missing", "Which of these digests are not held", {200: _json(_MISSING)}, [],
                400, 408, 413, 415, 422, body=_json(_DIGESTS),
            )
        },
        "/blobs/{digest}": {
            "get": _operation(
                "blob", "A file, or a range of it", {200: _content(BYTES, {}), 206: _content(BYTES, {})},
                [digest, {**_parameter("Range", {"type": "string"}), "in": "header"}], 400, 404, 416,
            ),
            "head": _operation("blobSize", "Whether a file is held, and how long it is", {200: {"content": {}}},
                               [digest], 400, 404, 416, told=False),
            "put": _operation(
                "putBlob", "Keep a file, if it has that digest", {200: _json(_KEPT), 201: _json(_KEPT)}, [digest],
                400, 408, 413, 415, 422, body=_content(BYTES, {}),
            ),
        },
        "/blobs/{digest}/uploads/{upload}": {
            "get": _operation("upload", "How much of an upload has come, in the shape of the IETF's Resumable Uploads "
                              "for HTTP", {200: _UPLOAD}, upload, 400, 503),
            "head": _operation("uploadOffset", "The same, in `Upload-Offset` alone", {200: _OFFSET_TOLD}, upload,
                               400, 503, told=False),
            "patch": _operation(
                "goOn", "Add a part to an upload, from `Upload-Offset` on. With the last one (`Upload-Complete: ?1`) "
                "the file is kept, if it has that digest, and else thrown away.",
                {200: {**_json({"anyOf": [_OFFSET, _KEPT]}), **_OFFSET_TOLD}, 201: _json(_KEPT)},
                [*upload, *_PART], 400, 408, 409, 413, 415, 422, 503, body=_content(PART, {}),
            ),
            "delete": _operation("dropUpload", "Throw an upload away", {200: _UPLOAD}, upload, 400, 503),
        },
    }  # fmt: skip


def _questions() -> dict[str, Any]:
    """What a store that is opened by its URL asks: arguments in their order, in MessagePack."""
    found, schemas = {}, iter(_types()[0])
    for name in wire_format.MOST:
        summary = inspect.getdoc(getattr(Questions, name)) or ""
        taken, given = next(schemas), next(schemas)
        found[f"/questions/{name}"] = {
            "post": _operation(
                f"ask_{name}", " ".join(summary.split()), {200: _content(wire_format.MEDIA_TYPE, given)}, [],
                400, 408, 413, 415, 422, body=_content(wire_format.MEDIA_TYPE, taken),
            )
        }  # fmt: skip
    return found


@lru_cache(maxsize=1)
def _types() -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    """The schemas of what each question takes and gives, and those that they refer to."""
    known = [*(kind for name in wire_format.MOST for kind in wire_format.types(name)), Collected]
    return msgspec.json.schema_components(known, ref_template="#/components/schemas/{name}")


def _operation(
    id: str, summary: str, answers: dict[int, Schema], parameters: list[Schema], *refusals: int,
    body: Schema | None = None, told: bool = True, **more: Any,
) -> Schema:  # fmt: skip
    found: Schema = {"operationId": id, "summary": summary, "parameters": parameters, "responses": {}, **more}
    for status, answer in answers.items():
        found["responses"][str(status)] = {"description": "Done.", **answer}
    for status in sorted({*refusals, 401, 403, 429, 507}):
        refusal = _json(_ref("Refusal")) if told else {}
        found["responses"][str(status)] = {"description": REASONS[status], **refusal}
    if body is not None:
        found["requestBody"] = {"required": True, **body}
    return found


def _content(media_type: str, schema: Schema) -> Schema:
    return {"content": {media_type: {"schema": schema}}}


def _json(schema: Schema) -> Schema:
    return _content(JSON, schema)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: list[str], /, **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _parameter(name: str, schema: Schema, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _in_path(name: str, pattern: str | None, description: str = "") -> Schema:
    schema = {"type": "string", **({"pattern": pattern} if pattern else {"minLength": 1})}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_DIGEST: Schema = {"type": "string", "pattern": path_names.DIGEST}
_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}

_REFUSAL = _object(
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
_RUN = _object(
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
_OFFSET_TOLD: Schema = {"headers": {"Upload-Offset": {"schema": _COUNT}, "Upload-Complete": {"schema": _TEXT}}}
_UPLOAD: Schema = {**_json(_OFFSET), **_OFFSET_TOLD}
_PART = [
    _parameter("Upload-Offset", {**_COUNT, "maximum": 10**15 - 1}, required=True) | {"in": "header"},
    _parameter("Upload-Complete", {"enum": ["?0", "?1"]}, required=True) | {"in": "header"},
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
_NEXT = {"headers": {"Link": {"schema": _TEXT, "description": "With rel=next, the address of the runs after these."}}}
_QUERY = [
    _parameter("experiment", _TEXT),
    _parameter("where", _TEXT),
    _parameter("order_by", _TEXT),
    _parameter("limit", {**_COUNT, "maximum": 10**9 - 1}),
    _parameter("children", {"type": "boolean"}),
    _parameter("cursor", _TEXT),
]
