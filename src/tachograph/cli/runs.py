"""List runs, the newest first.

The table shows, as far as there is room, the metrics that say most and the parameters in which the runs differ; --json
has everything.

QUERY compares id, name, experiment, status, started, ended, parent, and metrics.NAME, params.NAME, tags.NAME (a name
with other characters than letters, digits and _ in double quotes: metrics."train-logloss") with numbers or 'text' by
= != < <= > >= like, in (...), is null, joined by and, or, not and parentheses. Times are '2026-11-05 14:30', in UTC.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tachograph import wording
from tachograph.cli import with_store
from tachograph.cli.arguments import add_json, add_root, whole_number
from tachograph.cli.output import say
from tachograph.cli.view import draw, ranking
from tachograph.store import document
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph runs
  tachograph runs --experiment churn --where "metrics.val_loss < 0.3 and params.lr >= 1e-3"
  tachograph runs --where "status = 'failed' and started > '2026-11-01'" --order-by "metrics.loss, started desc"
  tachograph runs --json | jq -r '.[].id'
"""
WIDEST = 24  # of a column in a terminal
FEW = 12  # columns of metrics and parameters, where there is any amount of room


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--experiment", metavar="E", help="runs of this experiment only")
    parser.add_argument("--where", metavar="QUERY", help="runs for which this holds")
    parser.add_argument("--order-by", metavar="FIELDS", help="fields, each with asc or desc; left out: newest first")
    parser.add_argument("--limit", metavar="N", type=whole_number, help="no more than N runs")
    parser.add_argument("--children", action="store_true", help="nested runs, too")
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """Always 0: that there are no runs is an answer, too. What can't be read is named: such a run is not gone."""
    runs = store.runs(options.experiment, options.where, options.order_by, options.limit, options.children)
    is_whole = not with_store.name_unreadable(store)
    if options.json:
        document.write([document.of_run(run) for run in runs])
    elif runs:
        _draw(runs, tree=options.children and options.order_by is None)
    elif store.runs(limit=1):
        say("no run is like that")
    elif is_whole:
        with_store.explain_nothing(store)
    return 0


def _draw(runs: list[RunRecord], tree: bool) -> None:
    console = draw.console()
    indents = None
    if tree:
        indents, runs = _as_tree(runs)
    draw.show(console, table(runs, console, indents))
    if console.is_terminal:
        draw.show(console, draw.line((f"{wording.count(len(runs), 'run')}{_of_experiment(runs)}", "dim")))


def table(runs: list[RunRecord], console: draw.Console, indents: list[int] | None = None) -> draw.Group:
    """A table of runs, with the columns that say most about them, as far as they fit."""
    widest = WIDEST if console.is_terminal else draw.UNBOUNDED
    values = values_of([run.metrics for run in runs], [run.params for run in runs], widest)
    columns = [*_facts(runs, indents or [0] * len(runs), widest), *values]
    return draw.table(draw.fitting(columns, console.width))


def _as_tree(runs: list[RunRecord]) -> tuple[list[int], list[RunRecord]]:
    """How deep each run is nested, and the runs: nested ones below their parents, oldest first."""
    ids = {run.id for run in runs}
    nested: dict[str | None, list[RunRecord]] = {}
    for run in runs:
        nested.setdefault(run.parent_id if run.parent_id in ids else None, []).append(run)
    placed: dict[str, tuple[int, RunRecord]] = {}
    # All runs come behind those without a parent: where parents form a cycle, the first one is shown on top.
    pending = [(0, run) for run in reversed([*nested.get(None, []), *runs])]
    while pending:
        depth, run = pending.pop()
        if run.id not in placed:
            placed[run.id] = depth, run
            pending += [(depth + 1, child) for child in nested.pop(run.id, [])]
    return [depth for depth, _ in placed.values()], [run for _, run in placed.values()]


def _facts(runs: list[RunRecord], indents: list[int], widest: int) -> list[draw.TableColumn]:
    now = datetime.now(UTC)
    names = ["  " * indent + wording.line(run.name) for indent, run in zip(indents, runs, strict=True)]
    columns = [draw.TableColumn("ID", [run.id for run in runs]), draw.TableColumn("NAME", draw.clipped(names, widest))]
    if not _of_experiment(runs):
        experiments = [wording.line(run.experiment or "") for run in runs]
        columns.append(draw.TableColumn("EXPERIMENT", draw.clipped(experiments, widest), rank=2))
    return [
        *columns,
        _status(runs),
        draw.TableColumn("STARTED", [wording.ago(run.started, now) for run in runs], right=True),
        draw.TableColumn("AT", [wording.moment(run.started) for run in runs], rank=5),
        draw.TableColumn("TOOK", [wording.duration(_seconds(run, now)) for run in runs], rank=3, right=True),
    ]


def _status(runs: list[RunRecord]) -> draw.TableColumn:
    silent = {run.id: f"running, silent since {wording.moment(at)}" for run in runs if (at := run.silent_since)}
    styles = {**draw.STATUS_STYLES, **dict.fromkeys(silent.values(), draw.SILENT_STYLE)}
    return draw.TableColumn("STATUS", [silent.get(run.id, run.status) for run in runs], styles=styles)


def _of_experiment(runs: list[RunRecord]) -> str:
    """The experiment, where all runs are of the same one."""
    names = {run.experiment for run in runs}
    return f" of experiment {wording.line(names.pop() or '')}" if len(names) == 1 else ""


def _seconds(run: RunRecord, now: datetime) -> float:
    return max(0.0, ((run.ended or now) - run.started).total_seconds())


def values_of(
    metrics: Sequence[Mapping[str, Any]], params: Sequence[Mapping[str, Any]], widest: int
) -> list[draw.TableColumn]:
    """Columns of metrics and parameters, the most telling first."""
    shown_metrics, shown_params = ranking.common_metrics(metrics)[:FEW], ranking.differing(params)[:FEW]
    return [
        *(
            draw.TableColumn(
                wording.line(name), [_cell(of_run, name, wording.number) for of_run in metrics], rank, right=True
            )
            for name, rank in zip(shown_metrics, (1, 3, 4, *[6] * FEW), strict=False)
        ),
        *(
            draw.TableColumn(
                wording.line(name),
                draw.clipped([_cell(of_run, name, wording.param) for of_run in params], widest),
                rank,
            )
            for name, rank in zip(shown_params, (4, 4, 4, *[7] * FEW), strict=False)
        ),
    ]


def _cell(values: Mapping[str, Any], name: str, show: Callable[[Any], str]) -> str:
    return show(values[name]) if name in values else ""
