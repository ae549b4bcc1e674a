"""Delete kept files that nothing refers to any more, as after runs were removed; compress old journals.

A file stays as long as its digest stands anywhere in a run's journals or in the registry, and for an hour after it was
kept. What a run has let go of, such as old checkpoints, it doesn't keep from being deleted. A removal of runs that was
interrupted is finished. Journals that nobody writes any more are compressed with gzip, which changes nothing for those
who read them through tachograph; others have zcat.
"""

from __future__ import annotations

import contextlib
import re
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tachograph import document, events, journal, process, removal
from tachograph.capture.blobs import ASIDE, Blobs, Stamp, put_back
from tachograph.cli import words
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
    blobs = Blobs(root)
    if not options.dry_run:
        _put_back(blobs)
    writers = [folder for folder in root.glob("runs/*/*") if folder.is_dir() and folder.parent.name not in removed]
    needed = _referred(root, writers)
    stamps = {path: stamp for path, stamp in _old_files(blobs.folder) if path.name not in needed}
    unneeded = list(stamps)
    for folder in writers:
        unneeded += journal.abandoned(folder, time.time() - GRACE_SECONDS)
    size = sum(path.stat().st_size for path in unneeded)
    sealed = [path for folder in writers for path in _sealed(folder, options.compress_after)]
    freed = 0
    if not options.dry_run:
        for path in unneeded:
            _delete(path, stamps.get(path), blobs)
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
    for folder in writers:
        found |= _held(folder)
    for path in root.glob("registry/**/*.json"):
        with open(path, "rb") as file:
            found.update(_digests(file))
    return found


def _held(writer: Path) -> set[str]:
    """The digests in a writer's journal, but those that it has let go of since."""
    found: set[str] = set()
    for path in journal.segments(writer):
        with journal.opened(path) as file:
            for line in file:
                digests = set(_digests([line]))
                found = found - digests if _is_release(line) else found | digests
    return found


def _is_release(line: bytes) -> bool:
    if b'"release"' not in line:
        return False
    try:
        return isinstance(events.decode(line), events.Release)
    except ValueError:
        return False


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


def _old_files(folder: Path) -> Iterator[tuple[Path, Stamp]]:
    """Kept files, and drafts of such whose writers died."""
    before = (time.time() - GRACE_SECONDS) * 1e9
    for path in sorted((*folder.glob("*/*"), *folder.glob(".draft-*"))):
        with contextlib.suppress(FileNotFoundError):  # a run lets go of it just now
            stamp = Stamp.of(path)
            if path.is_file() and stamp.modified < before and path.suffix != ASIDE:
                yield path, stamp


def _put_back(blobs: Blobs) -> None:
    """What processes put aside that were killed before they had looked whether it was needed."""
    before = time.time() - GRACE_SECONDS
    for aside in blobs.asides():
        with contextlib.suppress(FileNotFoundError):
            if aside.stat().st_ctime < before:
                put_back(aside)


def _delete(path: Path, stamp: Stamp | None, blobs: Blobs) -> None:
    """Delete a file; a blob only if nobody has come to need it since it was looked at."""
    if stamp is not None and not path.name.startswith("."):
        blobs.drop(path, stamp)
    else:
        path.unlink(missing_ok=True)
