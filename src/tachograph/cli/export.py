"""Write runs and their points as files that other tools read.

DEST is a folder. In it come runs.* with one row for each run, and metrics.* with one row for each point: run, name,
step, time, value. Without RUN all runs are written, nested ones too. Times are in UTC. In csv and jsonl a number that
is not finite is written NaN, Infinity or -Infinity.

In csv a text that begins with = + - @ ' or a tab or line end stands behind a ', so that no spreadsheet takes it for a
formula; without that one it is what was recorded. Numbers are written as they are.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from tachograph import wording
from tachograph.cli import with_store
from tachograph.cli.arguments import UsageError, add_json, add_root, path_or_url
from tachograph.cli.output import say
from tachograph.printable import decoded
from tachograph.store import document
from tachograph.store.export import FORMATS, export
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph export --format csv results
  tachograph export baseline deeper --format parquet results
  tachograph export latest --format jsonl --system results
"""


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.usage = "tachograph export [options] [RUN ...] --format {csv,jsonl,parquet} DEST"
    parser.add_argument(
        "places", metavar="RUN ... DEST", nargs="+", type=path_or_url, help="ids or names of runs, and the folder"
    )
    parser.add_argument("--format", required=True, choices=FORMATS, help="parquet needs pyarrow or polars")
    parser.add_argument("--system", action="store_true", help="the samples of the hardware, too")
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """0 when all is written."""
    *keys, folder = options.places
    with_store.check(store)
    _check_folder(store, folder)
    runs = [store.run(key) for key in keys] if keys else store.runs(order_by="started", children=True)
    with_store.name_unreadable(store)
    target = Path(folder).expanduser()
    exported = export(runs, target, options.format, options.system)
    if options.json:
        document.write({"runs": len(runs), "points": exported.points, "files": list(map(str, exported.files))})
    else:
        say(f"{wording.count(len(runs), 'run')} and {wording.count(exported.points, 'point')} in {target}")
    return 0


def _check_folder(store: Store, folder: str) -> None:
    """Raise UsageError where a run is named last: the folder was forgotten."""
    if Path(folder).name == folder and not Path(folder).exists() and _is_run(store, folder):
        raise UsageError(f"{folder!r} is a run: name the folder, too (if it is to be called so: ./{folder})")


def _is_run(store: Store, name: str) -> bool:
    store.refresh()
    return name == "latest" or store.questions.find(decoded(name)).count > 0
