"""Show one run: how it went and ended, what it was trained on, with what, where, and what became of it.

RUN is an id, a beginning of one that no other run has, a name that no other run has, or "latest".
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from tachograph import wording
from tachograph.cli import with_store
from tachograph.cli.arguments import add_json, add_root
from tachograph.cli.view import draw, sections
from tachograph.store import document
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph show latest
  tachograph show 20261123-0147
  tachograph show baseline --json | jq .summary.val_loss
"""


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("run", metavar="RUN", help='id, beginning of an id, name, or "latest"')
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """0; an unknown run raises."""
    record = store.run(options.run)
    if options.json:
        document.write(document.of_everything(record))
        return 0
    console = draw.console()
    draw.show(console, *_header(record))
    for title, content in _sections(record, console):
        draw.section(console, title, *content)
    return 0


def _header(run: RunRecord) -> Iterator[draw.Text]:
    now = datetime.now(UTC)
    yield draw.line((wording.line(run.name), "bold"), "  ", (run.id, "dim"))
    yield draw.line(*_progress(run, now))
    if run.seconds and run.overhead:
        share = f"{100 * run.overhead / run.seconds:.1f}% of its time"
        yield draw.line((f"recording took {wording.duration(run.overhead)}, {share}", "dim"))
    if run.parent_id:
        yield draw.line(f"part of {run.parent_id}")
    if run.tags:
        tags = (f"{wording.line(name)}={wording.line(value)}" for name, value in sorted(run.tags.items()))
        yield draw.line(("tags  ", "dim"), "  ".join(tags))


def _progress(run: RunRecord, now: datetime) -> Iterator[draw.Part]:
    """Status, duration and start of a run, as parts of a line."""
    took = wording.duration(((run.ended or now) - run.started).total_seconds())
    yield run.status, draw.STATUS_STYLES.get(run.status, "")
    yield f" {'for' if run.ended is None else 'after'} {took}"
    if (silent := run.silent_since) is not None:
        yield f", silent since {wording.moment(silent)} ({wording.ago(silent, now)})", draw.SILENT_STYLE
    yield f", started {wording.moment(run.started)} ({wording.ago(run.started, now)})"
    yield f", experiment {wording.line(run.experiment or '')}"


def _sections(run: RunRecord, console: draw.Console) -> Iterator[tuple[str, Iterable[draw.Drawn]]]:
    if (failure := run.failure) is not None and failure.error:
        rank = f" of rank {failure.rank}" if any(writer.rank for writer in run.writers) else ""
        yield f"Error{rank}", sections.error(failure.error)
    if run.metrics:
        yield "Metrics", sections.metrics(run, console)
    if run.params:
        yield "Params", sections.params(run.params, console)
    if run.datasets:
        yield "Data", [sections.datasets(run.datasets, console)]
    if run.artifacts:
        yield "Artifacts", sections.artifacts(run.artifacts, console)
    if run.links:
        yield "Lineage", [sections.links(run, console)]
    if run.environment:
        yield "Environment", [sections.environment(run.environment)]
    if run.system:
        yield "Hardware", [sections.hardware(run, console)]
    if children := run.children:
        yield wording.count(len(children), "child"), sections.children(children, console)
    if len(run.writers) > 1:
        yield "Writers", [sections.writers(run.writers, console)]
    if run.notes:
        yield "Notes", map(sections.note, run.notes)
    if run.console:
        yield "Console, its last lines", sections.console_lines(run.console)
