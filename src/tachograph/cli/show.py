"""Show one run: how it went and ended, what it was trained on, with what, where, and what became of it.

RUN is an id, a beginning of one that no other run has, a name that no other run has, or "latest".
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.text import Text

from tachograph import document
from tachograph.cli import draw, reading, sections, words
from tachograph.cli.arguments import add_json, add_root
from tachograph.records import RunRecord
from tachograph.store import Store

EXAMPLES = """\
  tachograph show latest
  tachograph show 20261123-0147
  tachograph show baseline --json | jq .summary.val_loss
"""


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("run", metavar="RUN", help='id, beginning of an id, name, or "latest"')
    add_root(parser)
    add_json(parser)


@reading.with_store
def run(options: Namespace, store: Store) -> int:
    """0; an unknown run raises."""
    found = store.run(options.run)
    if options.json:
        document.write(document.of_everything(found))
        return 0
    console = draw.console()
    draw.show(console, _header(found))
    for title, content in _sections(found, console):
        draw.show(console, Text(f"\n{title}", "bold"), *content)
    return 0


def _header(run: RunRecord) -> Text:
    now = datetime.now(UTC)
    took = words.duration(((run.ended or now) - run.started).total_seconds())
    text = Text.assemble((words.line(run.name), "bold"), "  ", (run.id, "dim"), "\n")
    text.append(run.status, draw.STATUS_STYLES.get(run.status, ""))
    text.append(f" {'for' if run.ended is None else 'after'} {took}")
    if (silent := run.silent_since) is not None:
        text.append(f", silent since {words.moment(silent)} ({words.ago(silent, now)})", draw.SILENT_STYLE)
    text.append(f", started {words.moment(run.started)} ({words.ago(run.started, now)})")
    text.append(f", experiment {words.line(run.experiment or '')}")
    if run.seconds and run.overhead:
        text.append(f"\nrecording took {words.duration(run.overhead)}", "dim")
        text.append(f" ({100 * run.overhead / run.seconds:.1f}% of {words.duration(run.seconds)})", "dim")
    if run.parent_id:
        text.append(f"\npart of {run.parent_id}")
    if run.tags:
        text.append("\ntags  ", "dim")
        text.append("  ".join(f"{words.line(name)}={words.line(value)}" for name, value in sorted(run.tags.items())))
    return text


def _sections(run: RunRecord, console: Console) -> Iterator[tuple[str, Iterable[RenderableType]]]:
    if run.error:
        yield "Error", sections.error(run.error)
    if run.params:
        yield "Params", [sections.pairs({name: words.param(value) for name, value in run.params.items()}, console)]
    if run.metrics:
        yield "Metrics", sections.metrics(run, console)
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
        yield words.count(len(children), "child"), sections.children(children, console)
    if len(run.writers) > 1:
        yield "Writers", [sections.writers(run.writers, console)]
    if run.notes:
        yield "Notes", map(sections.note, run.notes)
    if run.console:
        yield "Console, its last lines", sections.console_lines(run.console)
