"""Numbers, sizes and times as people read them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from tachograph.printable import line as line

MOST_BYTES = 1e24  # that anything is said to have
DEEPEST = 20  # of values in each other, that are shown
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def number(value: float, digits: int = 5) -> str:
    """So many significant digits, without an exponent where that is readable."""
    if not math.isfinite(value):
        return "NaN" if value != value else "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e12:
        return str(int(value))
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 2}e}"
    places = max(1, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}".rstrip("0").rstrip(".")


def param(value: Any, depth: int = 0) -> str:
    """A parameter's value. Unlike a measured number it is shown with all of its digits."""
    if isinstance(value, list | Mapping) and depth == DEEPEST:
        return "..."
    if isinstance(value, list):
        return f"[{', '.join(param(item, depth + 1) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{line(str(name))}: {param(item, depth + 1)}' for name, item in value.items())}}}"
    return line(value) if isinstance(value, str) else str(value)


def size(count: float) -> str:
    """Bytes, with a unit of powers of ten."""
    count = max(min(count, MOST_BYTES), -MOST_BYTES)
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            break
    return f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    if seconds < 9.95:
        return f"{seconds:.1f}s" if seconds >= 0.95 else f"{seconds * 1000:.0f}ms"
    whole = round(seconds)
    for (unit, length), (below, part) in pairwise(_UNITS):
        if whole >= length:
            return f"{whole // length}{unit} {whole % length // part:02}{below}"
    return f"{whole}s"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago ``moment`` was, in one unit."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f}{unit} ago"
    return "now"


def moment(time: datetime) -> str:
    """A point in time in the reader's own time zone."""
    with contextlib.suppress(OverflowError):  # at the end of all years
        time = time.astimezone()
    return time.strftime("%Y-%m-%d %H:%M:%S")


def time(at: float) -> datetime | None:
    """Seconds since 1970 as an aware datetime; None where no calendar has them."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def clock(at: float) -> str:
    """The time of day of a moment, in the reader's own time zone."""
    when = time(at)
    return "--:--:--" if when is None else moment(when).partition(" ")[2]


def digest(text: str) -> str:
    """The first digits of a digest: enough to tell it from others."""
    return text.removeprefix("sha256:")[:12]


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names in a row, of many the first ones; ``none`` where there are none."""
    shown = list(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "") or "none"


def count(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("ren" if noun.endswith("child") else "s")
    return f"{number:,} {noun if number == 1 else plural}"
