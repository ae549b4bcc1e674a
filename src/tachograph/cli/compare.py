"""Show what differs between runs, in the order in which it may be the cause: parameters, data, code, environment,
packages; and then the metrics.

What is the same in all of them is left out.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from tachograph import wording
from tachograph.cli import with_store
from tachograph.cli.arguments import UsageError, add_json, add_root
from tachograph.cli.view import draw, plain_values, ranking
from tachograph.store import document
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph compare baseline deeper
  tachograph compare latest 20261123-0147 --json | jq .params
  tachograph compare $(tachograph runs --experiment churn --limit 5 --json | jq -r '.[].id')
"""
MOST = 10
SHOWN_CHANGES = 20  # lines of each run


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help=f"two to {MOST} runs: ids, names, or latest")
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """Always 0, whether or not something differs."""
    runs = [store.run(key) for key in options.runs]
    if not 2 <= len({run.id for run in runs}) == len(runs) <= MOST:
        raise UsageError(f"name two to {MOST} different runs (tachograph compare --help says more)")
    values = {title: [read(run) for run in runs] for title, read in SECTIONS.items()}
    differences = {title: _differing(of_runs) for title, of_runs in values.items()}
    if options.json:
        document.write({"runs": [document.of_run(run) for run in runs], **_by_id(runs, differences)})
    else:
        _draw(runs, differences, recorded=[title for title, of_runs in values.items() if any(of_runs)])
    return 0


# -- what is compared: names and values of each run --

Values = Mapping[str, Any]


def _data(run: RunRecord) -> Values:
    return {f"{data.role} {data.name}": data.digest or f"{data.rows} x {data.columns}" for data in run.datasets}


def _code(run: RunRecord) -> Values:
    git = plain_values.mapping(run.environment.get("git"))
    return {name: git[name] for name in ("remote", "commit", "branch", "diff") if name in git}


def _environment(run: RunRecord) -> Values:
    environment = run.environment
    return {
        **_flat(environment, "python", "os", "cpu", "memory", "seeds", "variables"),
        "gpus": [gpu.get("name") for gpu in plain_values.mappings(environment.get("gpus"))],
        "command": environment.get("argv"),
        "folder": environment.get("cwd"),
    }


def _flat(values: Values, *groups: str) -> dict[str, Any]:
    return {
        f"{group}.{name}": value for group in groups for name, value in plain_values.mapping(values.get(group)).items()
    }


SECTIONS: dict[str, Callable[[RunRecord], Values]] = {
    "params": lambda run: run.params,
    "data": _data,
    "code": _code,
    "environment": _environment,
    "packages": lambda run: plain_values.mapping(run.environment.get("packages")),
    "metrics": lambda run: run.metrics,
}


class Missing:
    """Stands for a value that a run doesn't have."""


MISSING = Missing()
Differences = dict[str, list[Any]]  # by name, a value for each run


def _differing(runs: Sequence[Values]) -> Differences:
    names = dict.fromkeys(name for run in runs for name in run)
    rows = {name: [run.get(name, MISSING) for run in runs] for name in names}
    # Compared by their text: so NaN equals NaN, and 1 equals neither 1.0 nor True.
    return {name: row for name, row in rows.items() if len({repr(value) for value in row}) > 1}


def _by_id(runs: Sequence[RunRecord], differences: Mapping[str, Differences]) -> dict[str, Any]:
    return {
        title: {
            name: {run.id: value for run, value in zip(runs, row, strict=True) if value is not MISSING}
            for name, row in rows.items()
        }
        for title, rows in differences.items()
    }


# -- drawing --


def _draw(runs: Sequence[RunRecord], differences: Mapping[str, Differences], recorded: Sequence[str]) -> None:
    console = draw.console()
    draw.show(console, _names(runs))
    for title, rows in differences.items():
        if rows:
            table = _metrics(rows) if title == "metrics" else _table(rows, console.width)
            draw.section(console, title.capitalize(), table)
        if "diff" in rows and title == "code":
            draw.show(console, draw.line(), *_changes(rows["diff"]))
    same = [title for title in recorded if not differences[title]]
    missing = [title for title in differences if title not in recorded]
    rest = [f"the same: {', '.join(same)}"] * bool(same) + [f"not recorded: {', '.join(missing)}"] * bool(missing)
    if rest:
        draw.show(console, draw.line(), draw.line(("; ".join(rest), "dim")))


def _names(runs: Sequence[RunRecord]) -> draw.Group:
    return draw.table(
        [
            draw.TableColumn("", ascii_uppercase[: len(runs)]),
            draw.TableColumn("ID", [run.id for run in runs]),
            draw.TableColumn("NAME", [wording.line(run.name) for run in runs]),
            draw.TableColumn("EXPERIMENT", [wording.line(run.experiment or "") for run in runs]),
            draw.TableColumn("STATUS", [run.status for run in runs], styles=draw.STATUS_STYLES),
            draw.TableColumn("STARTED", [wording.ago(run.started) for run in runs], right=True),
        ]
    )


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
        changes = _changed_lines(value)
        files = wording.count(len({file for file, _ in changes}), "file")
        return f"{wording.count(len(changes), 'line')} in {files}" if changes else "none"
    return wording.digest(value) if isinstance(value, str) and value.startswith("sha256:") else wording.param(value)


def _metrics(rows: Differences) -> draw.Group:
    """The metrics, the most telling first; of two runs also by how much they differ."""
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


def _changes(diffs: Sequence[Any]) -> Iterator[draw.Text]:
    """The changed lines that are not in all of the runs' diffs, each behind the letter of its run."""
    changes = [[] if diff is MISSING else _changed_lines(diff) for diff in diffs]
    common = set.intersection(*map(set, changes))
    for letter, of_run in zip(ascii_uppercase, changes, strict=False):
        only = [change for change in of_run if change not in common]
        for file, line in only[:SHOWN_CHANGES]:
            style = "green" if line.startswith("+") else "red"
            yield draw.line((f"{letter}  {wording.line(file)}  ", "dim"), (line, style))
        if len(only) > SHOWN_CHANGES:
            yield draw.line((f"{letter}  and {wording.count(len(only) - SHOWN_CHANGES, 'more line')}", "dim"))


def _changed_lines(diff: Any) -> list[tuple[str, str]]:
    """The lines that a diff adds and removes, each with its file."""
    file, changes = "", []
    for line in diff.splitlines() if isinstance(diff, str) else ():
        if line.startswith("diff "):
            file = line.rpartition(" b/")[2]
        elif line.startswith(("+", "-")) and not line.startswith(("+++ ", "--- ")):
            changes.append((file, line))
    return changes
