"""Delete kept files that nothing refers to any more, as after runs were removed; compress old journals.

A file stays as long as its digest stands anywhere in a run's journals or in the registry, and for an hour after it was
kept. A removal of runs that was interrupted is finished. Journals that nobody writes any more are compressed with gzip,
which changes nothing for those who read them through tachograph; others have zcat.
"""

from __future__ import annotations

import re
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tachograph import journal, process, removal
from tachograph.cli import document, words
from tachograph.cli.arguments import add_json, add_root, local_root, whole_number

EXAMPLES = """\
  tachograph gc --dry-run
  tachograph rm baseline && tachograph gc
  tachograph gc --compress-after 7
"""
# A run that is being recorded keeps a file first, and then says so in its journal.
GRACE_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})")


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
    root = local_root(options)
    removed = removal.hidden(root) if options.dry_run else removal.sweep(root)
    writers = [folder for folder in root.glob("runs/*/*") if folder.is_dir() and folder.parent.name not in removed]
    needed = _referred(root, writers)
    unneeded = [path for path in _old_files(root / "blobs") if path.name not in needed]
    for folder in writers:
        unneeded += journal.abandoned(folder, time.time() - GRACE_SECONDS)
    size = sum(path.stat().st_size for path in unneeded)
    sealed = [path for folder in writers for path in _sealed(folder, options.compress_after)]
    freed = 0
    if not options.dry_run:
        for path in unneeded:
            path.unlink()
        freed = sum(map(_compress, sealed))
    if options.json:
        document.write(
            {
                "root": str(root), "files": [str(path) for path in unneeded], "bytes": size, "runs": removed,
                "compressed": [str(path) for path in sealed], "freed": freed, "deleted": not options.dry_run,
            }
        )  # fmt: skip
    else:
        _say(options, root, removed, sealed, freed)
        would = "would be " if options.dry_run else ""
        print(f"{words.count(len(unneeded), 'file')} ({words.size(size)}) {would}deleted in {root}")
    return 0


def _say(options: Namespace, root: Path, removed: Sequence[str], sealed: Sequence[Path], freed: int) -> None:
    """What is not everyday."""
    would = "would be " if options.dry_run else ""
    if removed:
        print(f"what was left of {words.count(len(removed), 'removed run')} {would}deleted in {root}")
    if sealed:
        gain = "" if options.dry_run else f" ({words.size(freed)} freed)"
        print(f"{words.count(len(sealed), 'journal file')} {would}compressed{gain} in {root}")


def _referred(root: Path, writers: Iterable[Path]) -> set[str]:
    """The digests that stand anywhere in the journals and the registry, in events of kinds to come, too."""
    found: set[str] = set()
    for path in (segment for folder in writers for segment in journal.segments(folder)):
        with journal.opened(path) as file:
            found.update(_digests(file))
    for path in root.glob("registry/**/*.json"):
        with open(path, "rb") as file:
            found.update(_digests(file))
    return found


def _digests(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        for match in _DIGEST.findall(line):
            yield match.decode()


def _sealed(writer: Path, days: int) -> Iterator[Path]:
    """What is to be compressed. Of a process that may still live, only what it left behind at least an hour ago."""
    header = journal.header(writer)
    gone = header is not None and process.is_gone(process.Process(header.host, header.boot, header.pid, header.born))
    age = days * DAY_SECONDS
    yield from journal.sealed(writer, gone, time.time() - (age if gone else max(age, GRACE_SECONDS)))


def _compress(path: Path) -> int:
    try:
        return journal.compress(path)
    except FileNotFoundError:
        return 0  # another process did, or removed the run


def _old_files(folder: Path) -> Iterator[Path]:
    """Kept files, and drafts of such whose writers died."""
    before = time.time() - GRACE_SECONDS
    for path in sorted((*folder.glob("*/*"), *folder.glob(".draft-*"))):
        if path.is_file() and path.stat().st_mtime < before:
            yield path
