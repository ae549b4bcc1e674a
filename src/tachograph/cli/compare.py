"""Show what differs between runs, in the order in which it may be the cause: parameters, data, code, environment,
packages; and then the metrics.

What is the same in all of them is left out.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from tachograph import wording
from tachograph.cli import with_store
from tachograph.cli.arguments import UsageError, add_json, add_root
from tachograph.cli.view import differences, draw, plain_values
from tachograph.cli.view.differences import MISSING, Differences, Values
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
    found = {title: differences.differing(of_runs) for title, of_runs in values.items()}
    if options.json:
        ids = [run.id for run in runs]
        document.write({"runs": [document.of_run(run) for run in runs], **differences.by_thing(ids, found)})
    else:
        _draw(runs, found, recorded=[title for title, of_runs in values.items() if any(of_runs)])
    return 0


# -- what is compared: names and values of each run --


def _data(run: RunRecord) -> Values:
    return {f"{data.role} {data.name}": data.digest or f"{data.rows} x {data.columns}" for data in run.datasets}


def _code(run: RunRecord) -> Values:
    git = plain_values.mapping(run.environment.get("git"))
    return {name: git[name] for name in ("remote", "commit", "branch", "diff") if name in git}


def _environment(run: RunRecord) -> Values:
    environment = run.environment
    return {
        **differences.flat(environment, "python", "os", "cpu", "memory", "seeds", "variables"),
        "gpus": [gpu.get("name") for gpu in plain_values.mappings(environment.get("gpus"))],
        "command": environment.get("argv"),
        "folder": environment.get("cwd"),
    }


SECTIONS: dict[str, Callable[[RunRecord], Values]] = {
    "params": lambda run: run.params,
    "data": _data,
    "code": _code,
    "environment": _environment,
    "packages": lambda run: plain_values.mapping(run.environment.get("packages")),
    "metrics": lambda run: run.metrics,
}


# -- drawing --


def _draw(runs: Sequence[RunRecord], found: Mapping[str, Differences], recorded: Sequence[str]) -> None:
    console = draw.console()
    draw.show(console, _names(runs))
    for title, rows in found.items():
        differences.show(console, title, rows)
        if "diff" in rows and title == "code":
            draw.show(console, draw.line(), *_changes(rows["diff"]))
    differences.show_rest(console, found, recorded)


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


def _changes(diffs: Sequence[Any]) -> Iterator[draw.Text]:
    """The changed lines that are not in all of the runs' diffs, each behind the letter of its run."""
    changes = [[] if diff is MISSING else differences.changed_lines(diff) for diff in diffs]
    common = set.intersection(*map(set, changes))
    for letter, of_run in zip(ascii_uppercase, changes, strict=False):
        only = [change for change in of_run if change not in common]
        for file, line in only[:SHOWN_CHANGES]:
            style = "green" if line.startswith("+") else "red"
            yield draw.line((f"{letter}  {wording.line(file)}  ", "dim"), (line, style))
        if len(only) > SHOWN_CHANGES:
            yield draw.line((f"{letter}  and {wording.count(len(only) - SHOWN_CHANGES, 'more line')}", "dim"))
