"""The description of the API in OpenAPI, out of the table of its operations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from tachograph.server.api.operations import OPERATIONS, REFUSAL, RUN, Operation, Schema, content, json_content, ref
from tachograph.server.tokens import ROLES
from tachograph.store import wire_format
from tachograph.store.questions import Questions
from tachograph.upkeep import Collected

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
ANY_REFUSED = (401, 403, 429, 507)  # of these any request may be the answer


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
        "paths": _paths(),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Refusal": REFUSAL, "Run": RUN, **_types()[1]},
        },
    }


def _paths() -> dict[str, Any]:
    """The operations by their addresses and methods."""
    paths: dict[str, Any] = {}
    for operation in [*OPERATIONS, *_questions()]:
        paths.setdefault(f"/api/v1{operation.path}", {})[operation.method] = _described(operation)
    return paths


def _described(operation: Operation) -> Schema:
    responses: dict[str, Schema] = {}
    for status, answer in operation.answers.items():
        responses[str(status)] = {"description": "Done.", **answer}
    for status in sorted({*operation.refusals, *ANY_REFUSED}):
        refusal = json_content(ref("Refusal")) if operation.is_explained else {}
        responses[str(status)] = {"description": REASONS[status], **refusal}
    return {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": operation.parameters,
        "responses": responses,
        **({"security": []} if operation.is_open else {}),
        **({"requestBody": {"required": True, **operation.body}} if operation.body else {}),
    }


def _questions() -> Iterator[Operation]:
    """What a store that is opened by its URL asks: arguments in their order, in MessagePack."""
    schemas = iter(_types()[0])
    for name in wire_format.MOST:
        arguments, answer = next(schemas), next(schemas)
        yield Operation(
            "post", f"/questions/{name}", f"ask_{name}",
            " ".join((inspect.getdoc(getattr(Questions, name)) or "").split()),
            {200: content(wire_format.MEDIA_TYPE, answer)}, refusals=[400, 408, 413, 415, 422],
            body=content(wire_format.MEDIA_TYPE, arguments),
        )  # fmt: skip


@lru_cache(maxsize=1)
def _types() -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    """The schemas of what each question takes and answers, in turns, and those that they refer to."""
    types = [*(each for name in wire_format.MOST for each in wire_format.types(name)), Collected]
    return msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
