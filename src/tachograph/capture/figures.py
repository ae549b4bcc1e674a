"""Figures as files that any browser shows."""

from __future__ import annotations

import io
from typing import Any


def render(figure: Any, name: str) -> tuple[bytes, str]:
    """The bytes of ``figure`` and a file name: SVG for matplotlib's, JSON for plotly's. TypeError for anything else."""
    if hasattr(figure, "savefig"):
        return _matplotlib(figure), f"{name}.svg"
    if hasattr(figure, "to_plotly_json") and hasattr(figure, "to_json"):
        return str(figure.to_json()).encode(), f"{name}.plotly.json"
    raise TypeError(f"a figure is one of matplotlib or plotly, got {type(figure).__name__}")


def _matplotlib(figure: Any) -> bytes:
    import matplotlib

    content = io.BytesIO()
    # Without a date and with fixed ids the same figure gives the same bytes, which are then stored once.
    with matplotlib.rc_context({"svg.hashsalt": "tachograph"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
