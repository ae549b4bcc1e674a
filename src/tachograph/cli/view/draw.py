"""Drawing in a terminal: the console, tables that fit, small curves.

On a terminal what is drawn fits its width. Into a file or a pipe everything is written whole, without colours.

Texts and styles are kept apart: whatever is in a text can neither break a line nor colour it. Only this module uses
rich, and writes what has a style.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tachograph import wording
from tachograph.cli.output import shown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from rich.console import Console as Console
    from rich.console import Group as Group
    from rich.console import RenderableType
    from rich.text import Text as Text

    Drawn: TypeAlias = RenderableType

Part: TypeAlias = "str | tuple[str, str]"  # a text, or one with its style

UNBOUNDED = 10_000  # columns of a file
GAP = 2
MARGIN = 10  # of a chart, for its scale
STATUS_STYLES = {
    "running": "cyan",
    "finished": "green",
    "failed": "bold red",
    "crashed": "bold red",
    "interrupted": "yellow",
}
SILENT_STYLE = "yellow"
_BLOCKS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille character: left and right, from the top


def console() -> Console:
    """The console to draw on: standard output."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else UNBOUNDED, highlight=False, markup=False, emoji=False, soft_wrap=False
    )


def line(*parts: Part, cut: bool = False) -> Text:
    """A line of texts. Where it does not fit, it continues below, or is ``cut``."""
    from rich.text import Text

    joined = Text(no_wrap=cut, overflow="ellipsis" if cut else None)
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        joined.append(shown(text), style)
    return joined


@dataclass
class TableColumn:
    """A column of a table; where not all of them fit, those of low ``rank`` are shown."""

    header: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False  # for numbers
    style: str = ""
    styles: Mapping[str, str] = field(default_factory=dict)  # of a cell, by its text

    def __post_init__(self) -> None:
        self.header, self.cells = shown(self.header), list(map(shown, self.cells))

    @property
    def width(self) -> int:
        """How many characters wide it is in a terminal, with the gap after it."""
        from rich.cells import cell_len

        return max(map(cell_len, (self.header, *self.cells))) + GAP


def fitting(columns: Sequence[TableColumn], room: int) -> list[TableColumn]:
    """The columns for which there is room, in their order."""
    chosen = set()
    for index, column in sorted(enumerate(columns), key=lambda item: item[1].rank):
        if column.width - GAP <= room:
            chosen.add(index)
            room -= column.width
    return [column for index, column in enumerate(columns) if index in chosen]


def clipped(cells: Iterable[str], width: int) -> list[str]:
    """Cells that are cut where they are more than ``width`` characters wide."""
    from rich.cells import cell_len, set_cell_size

    texts = map(shown, cells)
    return [cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…" for cell in texts]


def table(columns: Sequence[TableColumn]) -> Group:
    """Columns without lines between them; what does not fit is cut off. (rich's own tables are slow.)"""
    from rich.cells import cell_len
    from rich.console import Group

    widths = [column.width - GAP for column in columns]

    def row(cells: Iterable[tuple[str, str]]) -> Text:
        parts: list[Part] = []
        for column, width, (cell, style) in zip(columns, widths, cells, strict=True):
            blanks = " " * (width - cell_len(cell))
            parts += [(blanks + cell if column.right else cell + blanks, style), " " * GAP]
        text = line(*parts, cut=True)
        text.rstrip()
        return text

    rows = [row((column.header, "dim") for column in columns)] if any(column.header for column in columns) else []
    for cells in zip(*(column.cells for column in columns), strict=True):
        rows.append(
            row((cell, column.styles.get(cell, column.style)) for column, cell in zip(columns, cells, strict=True))
        )
    return Group(*rows)


def grid(values: Mapping[str, str]) -> Drawn:
    """Names, and beside each its text, in as many lines as it needs."""
    from rich.table import Table

    rows = Table.grid(padding=(0, GAP))
    for name, text in values.items():
        rows.add_row(line((name, "dim")), line(text))
    return rows


def side_by_side(lines: Sequence[Text], console: Console) -> Drawn:
    """Short lines; on a terminal in as many columns as fit, else below each other."""
    from rich.columns import Columns
    from rich.console import Group

    return Columns(lines, padding=(0, GAP), column_first=True) if console.is_terminal else Group(*lines)


def section(console: Console, title: str, *things: Drawn) -> None:
    """Draw ``things`` below a title, and a blank line above it."""
    show(console, line(), line((title, "bold")), *things)


def add(console: Console, text: Text) -> None:
    """Draw one more line, which the terminal itself breaks where it does not fit."""
    console.print(text, soft_wrap=True)


def show(console: Console, *things: Drawn) -> None:
    """Draw ``things`` one below the other; into a file without blanks at the ends of lines."""
    if console.is_terminal:
        for thing in things:
            console.print(thing)
        return
    with console.capture() as capture:
        for thing in things:
            console.print(thing)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


# -- curves --


def spark(steps: ArrayLike, values: ArrayLike, width: int) -> str:
    """A curve one line high, of at most ``width`` characters; empty where there is nothing to draw."""
    curve = _curve(steps, values, width, stretch=False)
    return "".join(_BLOCKS[round(height * (len(_BLOCKS) - 1))] for height in _heights(curve))


def chart(title: str, steps: ArrayLike, values: ArrayLike, width: int, height: int = 5) -> list[str]:
    """A curve with its scale, as lines of exactly ``width`` characters."""
    import numpy as np

    curve = _curve(steps, values, 2 * (width - MARGIN))
    low, high = (wording.number(end, digits=4) for end in _ends(curve))
    labels = [high, *[""] * (height - 2), low]
    drawn = zip(labels, _braille(_heights(curve), height), strict=True)
    lines = [f"{label:>{MARGIN - 1}} {dots}" for label, dots in drawn]
    first, last = (wording.number(float(step)) for step in (np.min(steps), np.max(steps)))
    below = " " * MARGIN + first + last.rjust(width - MARGIN - len(first))
    return [_cut(text, width) for text in (shown(title), *lines, below)]


def _cut(text: str, width: int) -> str:
    """``text`` in exactly ``width`` columns of the terminal; wide characters take two."""
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def _curve(steps: ArrayLike, values: ArrayLike, count: int, stretch: bool = True) -> NDArray[Any]:
    """The finite values at ``count`` steps at even distances; unless ``stretch``, no more than there are points."""
    import numpy as np

    x, y = np.asarray(steps, float), np.asarray(values, float)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(y) == 0:
        return np.zeros(0)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if x[0] == x[-1]:
        x = np.arange(len(y), dtype=float)
    largest = float(np.abs(y).max()) or 1.0  # sums of huge values must stay finite
    return _resampled(x, y / largest, count if stretch else min(count, len(y))) * largest


def _ends(curve: NDArray[Any]) -> tuple[float, float]:
    return (float(curve.min()), float(curve.max())) if len(curve) else (math.nan, math.nan)


def _heights(curve: NDArray[Any]) -> list[float]:
    """The curve from 0 to 1; one that is level lies at the bottom."""
    if len(curve) == 0:
        return []
    low, high = _ends(curve / 2)  # halves, since the difference of two huge values might not be finite
    return [(value / 2 - low) / ((high - low) or 1.0) for value in curve.tolist()]


def _resampled(x: NDArray[Any], y: NDArray[Any], count: int) -> NDArray[Any]:
    """The means of ``count`` intervals of equal length; one without a point is on the line between its neighbours."""
    import numpy as np

    if len(y) <= count:
        return np.asarray(np.interp(np.linspace(x[0], x[-1], count), x, y))
    intervals = ((x - x[0]) / (x[-1] - x[0]) * count).astype(int).clip(0, count - 1)
    points = np.bincount(intervals, minlength=count)
    filled = np.flatnonzero(points)
    means = np.bincount(intervals, weights=y, minlength=count)[filled] / points[filled]
    return np.asarray(np.interp(np.arange(count), filled, means))


def _braille(heights: list[float], rows: int) -> list[str]:
    """A line through ``heights``, two of them in each character."""
    grid = [[0] * (len(heights) // 2) for _ in range(rows)]
    if not heights:
        return [""] * rows
    levels = [round((1 - height) * (rows * 4 - 1)) for height in heights]
    for index, (before, level) in enumerate(zip([levels[0], *levels], levels, strict=False)):
        # From beside the dot before up to this one, so that a steep line has no holes.
        start = before + (level > before) - (level < before)
        for dot in range(min(start, level), max(start, level) + 1):
            grid[dot // 4][index // 2] |= _DOTS[index % 2][dot % 4]
    return ["".join(chr(0x2800 + cell) for cell in row) for row in grid]
