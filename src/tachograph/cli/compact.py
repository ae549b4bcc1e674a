"""Write the runs that are closed to Parquet tables, for DuckDB, Spark, Trino, pandas and the like.

In tables/metrics comes a row for each point, in tables/runs one for each run, by the day (UTC) on which the run began.
The tables follow the store: call this again, as from cron, and what closed since is added, what was resumed is renewed,
and what was removed is gone. Runs that are open are left for later. The journals stay as they are.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from tachograph import wording
from tachograph.bucket.objects import SCHEMES
from tachograph.cli import with_store
from tachograph.cli.arguments import UsageError, add_json, add_root, path_or_url
from tachograph.cli.output import say
from tachograph.compact import compact, destination_at
from tachograph.store import document
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph compact
  tachograph compact --root s3://team/runs
  tachograph compact --root https://tachograph.example.com --to /data/tables
  duckdb -c "SELECT name, status, metrics['loss'] FROM '.tachograph/tables/runs/*/*.parquet'"
"""


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument(
        "--to",
        metavar="PLACE",
        type=path_or_url,
        help="a folder or a bucket's URL for the tables (default: the store's tables)",
    )
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """0 when the tables say what the store says."""
    with_store.check(store)
    report = compact(store, destination_at(options.to or _default_destination(options.root, store)))
    if options.json:
        document.write(report)
        return 0
    for verb, number in (("added", report.added), ("renewed", report.renewed), ("dropped", report.dropped)):
        if number:
            say(f"{wording.count(number, 'run')} {verb}")
    if report.open:
        say(f"{wording.count(report.open, 'run')} still open, left for later")
    written = (
        f"{wording.count(len(report.files), 'file')} ({wording.size(report.bytes)})" if report.files else "nothing"
    )
    say(f"{written} written in {report.tables}")
    return 0


def _default_destination(root: str | None, store: Store) -> str | Path:
    """Where the tables of a store go without ``--to``. Raises UsageError for a server."""
    scheme = (root or "").partition("://")[0]
    if root and scheme in ("http", "https"):
        raise UsageError(f"{store.name} keeps no tables: say where to put them (--to PLACE)")
    return f"{root.rstrip('/')}/tables" if root and scheme in SCHEMES else store.root / "tables"
