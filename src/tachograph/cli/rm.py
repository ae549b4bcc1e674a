"""Remove runs with their children, for good.

RUN is an id, a beginning of one that no other run has, a name that no other run has, or "latest". That a run was
removed, when and by whom stays on record: whoever sends it again does not bring it back. Files that it kept are deleted
by `tachograph gc`. With --root a server, too, where it needs a token with the role admin, or a bucket.

A run that reads as running is removed with --force alone. If its process was killed, only the machine where it ran can
tell: the next run there does, or `tachograph sync`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import closing

from tachograph import wording
from tachograph.cli import output
from tachograph.cli.arguments import UsageError, add_json, add_root
from tachograph.cli.output import complain, say
from tachograph.errors import Error
from tachograph.runtime import process
from tachograph.store import document
from tachograph.store.run_record import RunRecord
from tachograph.store.runs import with_children
from tachograph.store.store import Store, open_store
from tachograph.upkeep import upkeep_of

EXAMPLES = """\
  tachograph rm 20261123-0147
  tachograph rm baseline second-try --dry-run
  tachograph rm latest --yes && tachograph gc
  tachograph rm baseline --root https://tachograph.example.com
"""


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help='id, beginning of an id, name, or "latest"')
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--force", action="store_true", help="also what reads as running")
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """0 where they were removed; 1 where one reads as running, and without --force; or where the answer was no."""
    upkeep = upkeep_of(options.root)
    if not options.dry_run:
        upkeep.sweep()
    with closing(open_store(options.root)) as store:
        named, removed = _chosen(store, options.runs)
    for record in () if options.force else removed:
        _refuse_running(record)
    what = _described(named, len(removed) - len(named))
    if not options.dry_run and not (options.yes or _is_confirmed(what)):
        complain("nothing was removed")
        return 1
    if not options.dry_run:
        children_first = [(record.id, record.name) for record in reversed(removed)]
        upkeep.remove(children_first, options.force)
    if options.json:
        runs = [{"id": record.id, "name": record.name} for record in removed]
        document.write({"root": upkeep.name, "runs": runs, "removed": not options.dry_run})
    else:
        say(f"{what} {'would be ' if options.dry_run else ''}removed from {upkeep.name}")
    return 0


def _chosen(store: Store, keys: list[str]) -> tuple[list[RunRecord], list[RunRecord]]:
    """The runs that were named, but for those below another one of them; and all that are removed with them."""
    named = {run.id: run for run in map(store.run, keys)}
    removed = {run.id: run for top in named.values() for run in with_children(top)}
    below = {run.id for top in named.values() for run in with_children(top) if run.id != top.id}
    return [run for id, run in named.items() if id not in below], list(removed.values())


def _refuse_running(run: RunRecord) -> None:
    """Raise Error where a run reads as running."""
    here = process.this().host
    hosts = {writer.host for writer in run.writers if writer.status == "running"} - {""}
    if run.status == "running" or here in hosts:
        where = f" on {wording.line(', '.join(sorted(hosts)))}" if hosts else ""
        doubt = "" if here in hosts else f" as far as is known here (its last event came {wording.ago(run.latest)})"
        raise Error(
            f"run {run.id} ({wording.line(run.name)}) is still running{where}{doubt}: nothing was removed; "
            "--force removes it all the same"
        )


def _described(named: list[RunRecord], children: int) -> str:
    names = [f"{wording.line(run.name)} ({run.id})" for run in named]
    runs = f"run {names[0]}" if len(names) == 1 else f"{wording.count(len(names), 'run')} {', '.join(names)}"
    return runs + (f" with {wording.count(children, 'child')}" if children else "")


def _is_confirmed(what: str) -> bool:
    if not output.can_ask():
        raise UsageError("there is no terminal to ask on: --yes removes without asking, --dry-run says what")
    return output.answer(f"remove {what} for good? [y/N]").lower() in ("y", "yes")
