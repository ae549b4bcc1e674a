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
    """Add its options."""
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
    collected = upkeep.collect(options.dry_run, options.compress_after)
    old = caches.unused()
    if not options.dry_run:
        for cache in old:
            caches.delete(cache)
    if options.json:
        folders = [str(cache.folder) for cache in old]
        document.write({"root": upkeep.name, **document.plain(collected), "caches": folders})
    else:
        _say(upkeep.name, collected, old)
    return 0


def _say(root: str, collected: Collected, old: list[caches.Cache]) -> None:
    would = "" if collected.deleted else "would be "
    if collected.runs:
        say(f"what was left of {wording.count(len(collected.runs), 'removed run')} {would}deleted in {root}")
    if collected.compressed:
        gain = f" ({wording.size(collected.freed)} freed)" if collected.deleted else ""
        say(f"{wording.count(len(collected.compressed), 'journal file')} {would}compressed{gain} in {root}")
    if old:
        size = wording.size(sum(cache.size for cache in old))
        say(f"{wording.count(len(old), 'cache folder')} ({size}), unused for long, {would}deleted")
    if collected.later:
        marked = wording.count(collected.later, "file")
        say(f"{marked} {would}marked in {root}: a later call, from an hour on, deletes them")
    say(f"{wording.count(len(collected.files), 'file')} ({wording.size(collected.bytes)}) {would}deleted in {root}")
