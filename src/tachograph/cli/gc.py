"""Delete kept files that nothing refers to any more, as after runs were removed; compress old journals.

A file stays as long as its digest stands anywhere in a run's journals or in the registry, and for an hour after it was
kept. What a run has let go of, such as old checkpoints, it doesn't keep from being deleted. A removal of runs that was
interrupted is finished. Journals that nobody writes any more are compressed with gzip, which changes nothing for those
who read them through tachograph; others have zcat.

With --root a server, which does all that by itself, a token with the role admin is needed. In a bucket, a file that
nothing refers to is marked, and deleted by a later call: from an hour on, if still nothing refers to it.

What is kept of other stores in the user's cache folder, to be had again at any time, goes when it was not used for 30
days.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from tachograph import wording
from tachograph.cli.arguments import add_json, add_root, whole_number
from tachograph.cli.output import say
from tachograph.store import document
from tachograph.upkeep import Collected, caches, upkeep_of

EXAMPLES = """\
  tachograph gc --dry-run
  tachograph rm baseline && tachograph gc
  tachograph gc --compress-after 7
  tachograph gc --root s3://team/runs
"""


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--compress-after", metavar="DAYS", type=whole_number, default=30,
        help="compress journals that were last written so many days ago (default: 30)",
    )  # fmt: skip
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """Always 0."""
    upkeep = upkeep_of(options.root)
    done = upkeep.collect(options.dry_run, options.compress_after)
    old = caches.unused()
    if not options.dry_run:
        for one in old:
            caches.delete(one)
    if options.json:
        document.write({"root": upkeep.name, **document.plain(done), "caches": [str(one.folder) for one in old]})
    else:
        _say(upkeep.name, done, old)
    return 0


def _say(root: str, done: Collected, old: list[caches.Cache]) -> None:
    would = "" if done.deleted else "would be "
    if done.runs:
        say(f"what was left of {wording.count(len(done.runs), 'removed run')} {would}deleted in {root}")
    if done.compressed:
        gain = f" ({wording.size(done.freed)} freed)" if done.deleted else ""
        say(f"{wording.count(len(done.compressed), 'journal file')} {would}compressed{gain} in {root}")
    if old:
        size = wording.size(sum(one.size for one in old))
        say(f"{wording.count(len(old), 'cache folder')} ({size}), unused for long, {would}deleted")
    if done.later:
        say(f"{wording.count(done.later, 'file')} {would}marked in {root}: a later call, from an hour on, deletes them")
    say(f"{wording.count(len(done.files), 'file')} ({wording.size(done.bytes)}) {would}deleted in {root}")
