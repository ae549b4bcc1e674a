"""Figures as files that any browser shows."""

from __future__ import annotations

import io
import sys
from typing import Any


def render(figure: Any, name: str) -> tuple[bytes, str]:
    """The bytes of ``figure`` and a file name: SVG for matplotlib's, JSON for plotly's. TypeError for anything else.

    Of axes, or of a seaborn grid, it is the figure that they belong to.
    """
    drawing = _matplotlib(figure)
    if drawing is not None:
        return _svg(drawing), f"{name}.svg"
    if hasattr(figure, "to_plotly_json") and hasattr(figure, "to_json"):
        return str(figure.to_json()).encode(), f"{name}.plotly.json"
    raise TypeError(f"a figure is one of matplotlib or plotly, got {type(figure).__name__}")


def _matplotlib(figure: Any) -> Any:
    """The matplotlib figure that ``figure`` is or belongs to, or None. Not ``pyplot``, whose figure may be any."""
    module = sys.modules.get("matplotlib.figure")
    owner = getattr(figure, "figure", None)
    return owner if module is not None and isinstance(owner, module.Figure) else None


def _svg(figure: Any) -> bytes:
    import matplotlib

    content = io.BytesIO()
    # Without a date and with fixed ids the same figure gives the same bytes, which are then stored once.
    with matplotlib.rc_context({"svg.hashsalt": "tachograph"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
