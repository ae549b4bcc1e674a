"""What differs between several things, as tables: a row for each name, a column for each thing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, TypeAlias

from tachograph import wording
from tachograph.cli.view import draw, plain_values, ranking

Values: TypeAlias = Mapping[str, Any]


class Missing:
    """Stands for a value that one of them doesn't have."""


MISSING = Missing()
Differences: TypeAlias = dict[str, list[Any]]  # by name, a value for each of them


def differing(things: Sequence[Values]) -> Differences:
    """The names that don't have the same value in all of them."""
    names = dict.fromkeys(name for thing in things for name in thing)
    rows = {name: [thing.get(name, MISSING) for thing in things] for name in names}
    # Compared by their text: so NaN equals NaN, and 1 equals neither 1.0 nor True.
    return {name: row for name, row in rows.items() if len({repr(value) for value in row}) > 1}


def flat(values: Values, *groups: str) -> dict[str, Any]:
    """The values of mappings in a mapping, with dotted names."""
    return {
        f"{group}.{name}": value for group in groups for name, value in plain_values.mapping(values.get(group)).items()
    }


def by_thing(keys: Sequence[str], found: Mapping[str, Differences]) -> dict[str, Any]:
    """Differences for programs: by title, by name, by the key of each thing that has a value."""
    return {
        title: {
            name: {key: value for key, value in zip(keys, row, strict=True) if value is not MISSING}
            for name, row in rows.items()
        }
        for title, rows in found.items()
    }


# -- drawing --


def show(console: draw.Console, title: str, rows: Differences) -> None:
    """Draw a section, where there are differences."""
    if rows:
        draw.section(console, title.capitalize(), _metrics(rows) if title == "metrics" else _table(rows, console.width))


def show_rest(console: draw.Console, found: Mapping[str, Differences], recorded: Sequence[str]) -> None:
    """Say which sections, of those that were ``recorded``, have no differences, and which were not."""
    same = [title for title in recorded if not found[title]]
    missing = [title for title in found if title not in recorded]
    rest = [f"the same: {', '.join(same)}"] * bool(same) + [f"not recorded: {', '.join(missing)}"] * bool(missing)
    if rest:
        draw.show(console, draw.line(), draw.line(("; ".join(rest), "dim")))


def _table(rows: Differences, room: int) -> draw.Group:
    names = draw.TableColumn("", list(map(wording.line, rows)), style="dim")
    count = len(next(iter(rows.values())))
    each = max(8, (room - names.width) // count - draw.GAP)
    columns = [
        draw.TableColumn(letter, draw.clipped([_cell(name, row[index]) for name, row in rows.items()], each))
        for index, letter in enumerate(ascii_uppercase[:count])
    ]
    return draw.table([names, *columns])


def _cell(name: str, value: Any) -> str:
    if value is MISSING:
        return "–"
    if name == "diff":
        changes = changed_lines(value)
        files = wording.count(len({file for file, _ in changes}), "file")
        return f"{wording.count(len(changes), 'line')} in {files}" if changes else "none"
    return wording.digest(value) if isinstance(value, str) and value.startswith("sha256:") else wording.param(value)


def _metrics(rows: Differences) -> draw.Group:
    """The metrics, the most telling first; of two things also by how much they differ."""
    ordered = {name: rows[name] for name in ranking.metrics(rows)}
    columns = [draw.TableColumn("", list(map(wording.line, ordered)), style="dim")]
    count = len(next(iter(rows.values())))
    for index, letter in enumerate(ascii_uppercase[:count]):
        cells = ["–" if row[index] is MISSING else wording.number(row[index]) for row in ordered.values()]
        columns.append(draw.TableColumn(letter, cells, right=True))
    if count == 2:
        columns.append(draw.TableColumn("CHANGE", [_change(*row) for row in ordered.values()], right=True))
    return draw.table(columns)


def _change(before: Any, after: Any) -> str:
    if MISSING in (before, after) or not math.isfinite(after - before):
        return ""
    share = f" ({(after - before) / abs(before):+.1%})" if before else ""
    return f"{'+' * (after > before)}{wording.number(after - before)}{share}"


def changed_lines(diff: Any) -> list[tuple[str, str]]:
    """The lines that a diff adds and removes, each with its file."""
    file, changes = "", []
    for line in diff.splitlines() if isinstance(diff, str) else ():
        if line.startswith("diff "):
            file = line.rpartition(" b/")[2]
        elif line.startswith(("+", "-")) and not line.startswith(("+++ ", "--- ")):
            changes.append((file, line))
    return changes
