"""Remove runs with their children, for good.

RUN is an id, a beginning of one that no other run has, a name that no other run has, or "latest". That a run was
removed, when and by whom stays on record: whoever sends it again does not bring it back. Files that it kept are deleted
by `tachograph gc`. With --root a server, too, where it needs a token with the role admin, or a bucket.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import closing

from tachograph import document, process
from tachograph.cli import words
from tachograph.cli.arguments import UsageError, add_json, add_root, complain
from tachograph.errors import Error
from tachograph.records import RunRecord
from tachograph.store import Store, open_store
from tachograph.upkeep import upkeep_of, with_children

EXAMPLES = """\
  tachograph rm 20261123-0147
  tachograph rm baseline second-try --dry-run
  tachograph rm latest --yes && tachograph gc
  tachograph rm baseline --root https://tachograph.example.com
"""


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help='id, beginning of an id, name, or "latest"')
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """0 where they were removed; 1 where one is still running, or the answer was no."""
    upkeep = upkeep_of(options.root)
    if not options.dry_run:
        upkeep.sweep()
    with closing(open_store(options.root)) as store:
        named, all_of_them = _found(store, options.runs)
    for one in all_of_them.values():
        _refuse_running(one)
    what = _described(named, len(all_of_them) - len(named))
    if not options.dry_run and not (options.yes or _is_wanted(what)):
        complain("nothing was removed")
        return 1
    if not options.dry_run:
        upkeep.remove([(one.id, one.name) for one in reversed(all_of_them.values())])  # those above others last
    if options.json:
        runs = [{"id": one.id, "name": one.name} for one in all_of_them.values()]
        document.write({"root": upkeep.name, "runs": runs, "removed": not options.dry_run})
    else:
        print(f"{what} {'would be ' if options.dry_run else ''}removed from {upkeep.name}")
    return 0


def _found(store: Store, keys: list[str]) -> tuple[list[RunRecord], dict[str, RunRecord]]:
    """The runs that were named, but for those that another one brings along; and by id all that go."""
    asked = {run.id: run for run in map(store.run, keys)}
    all_of_them = {run.id: run for top in asked.values() for run in with_children(top)}
    below = {run.id for top in asked.values() for run in with_children(top) if run.id != top.id}
    return [run for id, run in asked.items() if id not in below], all_of_them


def _refuse_running(run: RunRecord) -> None:
    here = process.this().host
    hosts = [writer.host for writer in run.writers if writer.status == "running"]
    if run.status == "running" or here in hosts:
        where = f" on {', '.join(sorted(set(hosts)))}" if any(hosts) else ""
        raise Error(f"run {run.id} ({words.line(run.name)}) is still running{where}: nothing was removed")


def _described(named: list[RunRecord], children: int) -> str:
    names = [f"{words.line(run.name)} ({run.id})" for run in named]
    runs = f"run {names[0]}" if len(names) == 1 else f"{words.count(len(names), 'run')} {', '.join(names)}"
    return runs + (f" with {words.count(children, 'child')}" if children else "")


def _is_wanted(what: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on: --yes removes without asking, --dry-run says what")
    print(f"remove {what} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
