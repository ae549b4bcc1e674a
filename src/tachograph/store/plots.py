"""Small plots for a notebook: a curve as SVG, drawn from at most some hundred points."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT, MARGIN = 220, 44, 3
MOST_POINTS = 400


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
