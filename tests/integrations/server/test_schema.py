"""The description of the API beside what a real server answers to requests made up from it, right and wrong ones."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tests.integrations.server.serving import Server, lines

from tachograph.server.api import openapi
from tachograph.store import wire_format
from tachograph.store.questions import Query
from tachograph.store.store import open_store

schemathesis = pytest.importorskip("schemathesis")
jsonschema_rs = pytest.importorskip("jsonschema_rs")  # which it has for the same
checks = schemathesis.checks


EXAMPLES = 30
SECONDS = 5.0  # that an answer may take
CONTENT = b"content"
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
HELD = {"run": "held", "writer": "w", "digest": DIGEST, "name": "m0"}  # what the server has of each

# Where what a description can say is not all there is to it: what is right by the description may still be refused.
SAYS_LESS = {
    "GET /api/v1/runs": "a query has a grammar",
    "POST /api/v1/questions/runs": "so it has here",
    "GET /api/v1/runs/{run}/stream": "the id of an event is what the server has given out",
    "POST /api/v1/runs/{run}/writers/{writer}/events": "events have schemas of their own, line by line",
    "PUT /api/v1/blobs/{digest}": "the content must have the digest",
    "PATCH /api/v1/blobs/{digest}/uploads/{upload}": "so must it here",
    "GET /api/v1/blobs/{digest}": "a range may be none that the file has",
}

LINES = lines("held", "w", 5)


def _batch(chosen: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in chosen)


parts = st.sampled_from([*LINES, *(line[:-9] for line in LINES), b"", b"{}", b"[]", b"\xff"])
batches = st.just(_batch(LINES[1:])) | st.lists(parts, max_size=6).map(_batch) | st.binary()
schemathesis.openapi.media_type("application/x-ndjson", batches)
schemathesis.openapi.media_type("application/octet-stream", st.just(CONTENT) | st.binary())
schemathesis.openapi.media_type("application/partial-upload", st.just(CONTENT) | st.binary(max_size=100))


def of_what_is_held() -> dict[str, Any]:
    """The description, if there were no more runs, writers, files and metrics than those that there are."""
    document = copy.deepcopy(openapi.document())
    for item in document["paths"].values():
        for parameter in (one for operation in item.values() for one in operation["parameters"]):
            if parameter["name"] in HELD:
                parameter["schema"] = {"type": "string", "enum": [HELD[parameter["name"]]]}
    return document


@schemathesis.serializer("application/vnd.msgpack")
def _packed(context: Any, value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:  # there is no such number in it: something that is as wrong
        return msgspec.msgpack.encode("wrong")


@schemathesis.deserializer("application/vnd.msgpack")
def _unpacked(context: Any, response: Any) -> Any:
    return msgspec.to_builtins(msgspec.msgpack.decode(response.content))


anything = schemathesis.openapi.from_dict(openapi.document())
held = schemathesis.openapi.from_dict(of_what_is_held())
thorough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
done: set[str] = set()


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that holds a run, and a file."""
    server = Server(tmp_path_factory.mktemp("described") / "served")
    server.post("held", "w", LINES)
    server.put(DIGEST, CONTENT)
    yield server
    server.kill()


def check(case: Any, server: Server, *excluded: Any) -> None:
    if case.operation.label in SAYS_LESS:
        excluded = (*excluded, checks.positive_data_acceptance)
    if case.operation.label.endswith("/stream"):  # described as the text that it is; the tool has parsed it already
        excluded = (*excluded, checks.response_schema_conformance)
    is_question = "/questions/" in case.operation.label
    if is_question:  # the tool turns the schemas of tuples into those of older drafts, and finds these wrong
        excluded = (*excluded, checks.response_schema_conformance)
    answer = case.call_and_validate(base_url=server.url, timeout=SECONDS, excluded_checks=list(excluded))
    if is_question:
        kind = answer.headers["content-type"][0].partition(";")[0]
        content = _unpacked(None, answer) if kind == wire_format.MEDIA_TYPE else answer.json()
        if answer.status_code != 405:  # another method, which is not described
            validator(case.operation.path, str(answer.status_code), kind).validate(content)
    if answer.status_code < 300:
        done.add(case.operation.label)


@cache
def validator(path: str, status: str, kind: str) -> Any:
    """Of what a question gives, by the description as it is."""
    document = openapi.document()
    answer = document["paths"][path]["post"]["responses"][status]["content"][kind]
    return jsonschema_rs.Draft202012Validator({**answer["schema"], "components": document["components"]})


def of_each(name: str, schema: Any, *excluded: Any) -> dict[str, Any]:
    """A test for each operation. The tool calls all its own the same, of which pytest-xdist leaves one."""

    def test_of(label: str) -> Any:
        def test(case: Any, described: Server) -> None:
            check(case, described, *excluded)

        return schema.include(name=label).parametrize()(thorough(test))

    labels = [result.ok().label for result in schema.get_all_operations()]
    return {f"{name}_{re.sub(r'[^a-z0-9]+', '_', label.lower())}": test_of(label) for label in labels}


globals().update(of_each("test_it_answers_as_it_says", anything))
globals().update(
    of_each(
        "test_it_answers_as_it_says_about_what_it_holds",
        held.exclude(method="DELETE"),
        checks.negative_data_rejection,  # other names are no wrong ones
    )
)


def test_a_run_is_removed_as_it_says(described: Server) -> None:
    described.post("goes", "w", lines("goes", "w", 5))
    case = anything["/api/v1/runs/{run}"]["DELETE"].Case(path_parameters={"run": "goes"})
    check(case, described)


def test_answers_of_questions_are_checked(described: Server) -> None:
    """Each with something in it is as it says, and is not when it says something else."""
    store, found = open_store(described.url), 0
    asked: dict[str, Any] = {
        "runs": store.questions.runs(Query()), "states": store.questions.states(), "find": store.questions.find("held"),
        "chunks": store.questions.chunks("held", "m0"), "digests": store.questions.digests("held", ["m0"]),
        "writers": store.questions.writers("held"), "metrics": store.questions.metrics(["held"], False),
    }  # fmt: skip
    for name, answer in asked.items():
        content = msgspec.to_builtins(msgspec.msgpack.decode(wire_format.encode(answer)))
        check_one = validator(f"/api/v1/questions/{name}", "200", wire_format.MEDIA_TYPE)
        assert check_one.is_valid(content), name
        assert not check_one.is_valid({"wrong": content}), name
        found += bool(content)
    assert found == len(asked)


def test_each_operation_was_done() -> None:
    """Else the checks above would have said little."""
    if not done:
        pytest.skip("there were no other tests")
    assert done >= {result.ok().label for result in anything.get_all_operations()}
