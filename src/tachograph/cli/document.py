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
from typing import Any

from tachograph.events import written_number


def write(document: Any) -> None:
    """Write ``document`` to standard output."""
    json.dump(plain(document), sys.stdout, indent=2, allow_nan=False)
    print()


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else written_number(value)
    if isinstance(value, datetime):
        return time(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def time(moment: datetime | None) -> str | None:
    """A point in time as text."""
    return None if moment is None else moment.astimezone(UTC).isoformat()
