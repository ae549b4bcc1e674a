"""JSON for programs: one strict document on standard output.

JSON has no NaN and no infinities; they are written as the texts "NaN", "Infinity" and "-Infinity". Times are ISO 8601
in UTC.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from tachograph.errors import NotFound
from tachograph.events import written_number

if TYPE_CHECKING:
    from tachograph.store.run_record import RunRecord

DEEPEST = 100


def write(document: Any) -> None:
    """Write ``document`` to standard output."""
    for piece in json.JSONEncoder(indent=2, allow_nan=False).iterencode(plain(document)):
        sys.stdout.write(_visible(piece))
    print()


def line(document: Any) -> str:
    """``document`` on one line."""
    return _visible(json.dumps(plain(document), allow_nan=False))


def _visible(text: str) -> str:
    """JSON without control characters. All but this one are escaped already."""
    return text.replace("\x7f", "\\u007f")


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` in types that JSON has. What is nested deeper than ``DEEPEST`` is left out, for the sake of readers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else written_number(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping | list | tuple) and depth == DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    return value


def of_run(run: RunRecord) -> dict[str, Any]:
    """A run in a list of runs."""
    return {
        "id": run.id, "name": run.name, "experiment": run.experiment, "status": run.status,
        "started": run.started, "ended": run.ended, "params": run.params, "metrics": run.metrics, "tags": run.tags,
    }  # fmt: skip


def of_everything(run: RunRecord) -> dict[str, Any]:
    """A run by itself: all that is known of it but its points and its console."""
    return {
        **of_run(run),
        "latest": run.latest,
        "silent_since": run.silent_since,
        "error": run.error,
        "seconds": run.seconds,
        "overhead": run.overhead,
        "summary": run.summaries(run.metrics),
        "system": run.summaries(run.system),
        "datasets": [_without(dataset, "v", "seq", "at") for dataset in run.datasets],
        "artifacts": [
            {
                "name": artifact.name, "kind": artifact.kind, "digest": artifact.digest, "size": artifact.size,
                "step": artifact.step, "released": artifact.released,
            }
            for artifact in run.artifacts
        ],
        "environment": dict(run.environment),
        "notes": run.notes,
        "links": [_without(link, "v", "seq", "at") for link in run.links],
        "opener": run.opener,
        "parent": run.parent_id,
        "children": [child.id for child in run.children],
        "writers": run.writers,
        "dir": _folder(run),
    }  # fmt: skip


def _folder(run: RunRecord) -> str | None:
    """Its journals' folder; None where they don't lie on this machine."""
    try:
        return str(run.dir)
    except NotFound:
        return None


def _without(event: msgspec.Struct, *names: str) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(event).items() if name not in names}
