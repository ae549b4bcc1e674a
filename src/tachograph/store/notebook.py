"""How a notebook shows runs: tables in HTML, and curves as small SVGs, drawn from at most some hundred points."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tachograph.printable import printable

if TYPE_CHECKING:
    from tachograph.store.run_record import RunRecord

WIDTH, HEIGHT, MARGIN = 220, 44, 3
MOST_POINTS = 400


def table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Several runs as an HTML table, from their values by column."""
    head = "".join(f"<th>{_escaped(name)}</th>" for name in columns)
    rows = zip(*columns.values(), strict=True)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def run(record: RunRecord) -> str:
    """One run as an HTML table, with a curve beside each metric."""
    facts = {
        "id": record.id, "experiment": record.experiment, "status": record.status, "started": record.started,
        "ended": record.ended, **record.params, **record.metrics, **record.tags,
    }  # fmt: skip
    rows = "".join(
        f"<tr><th>{_escaped(name)}</th><td>{_escaped(value)}</td><td>{_curve_of(record, name)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table><caption>{_escaped(record.name)}</caption>{rows}</table>"


def _curve_of(record: RunRecord, name: str) -> str:
    if name not in record.metrics:
        return ""
    history = record.history(name)
    return curve(history.steps, history.values)


def _escaped(value: object) -> str:
    """Text that is safe to stand in HTML."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    text = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    return html.escape(printable(text))


def curve(steps: Any, values: Any) -> str:
    """An SVG of ``values`` over ``steps`` (arrays of equal length); "" where fewer than two points are finite."""
    import numpy as np

    shown = np.isfinite(values)
    steps, values = np.asarray(steps, float)[shown], np.asarray(values, float)[shown]
    if len(values) < 2:
        return ""
    chosen = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(int))
    across = _scaled(steps[chosen], MARGIN, WIDTH - MARGIN)
    down = _scaled(-values[chosen], MARGIN, HEIGHT - MARGIN)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img"><polyline points="{points}" fill="none" '
        'stroke="currentColor" stroke-width="1.2"/></svg>'
    )


def _scaled(numbers: Any, low: float, high: float) -> Any:
    """``numbers`` spread from ``low`` to ``high``; in the middle where they are all the same."""
    spread = numbers.max() - numbers.min()
    if not spread > 0:
        return numbers * 0 + (low + high) / 2
    return low + (numbers - numbers.min()) / spread * (high - low)
