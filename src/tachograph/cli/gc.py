"""Delete kept files that nothing refers to any more, as after runs were removed.

A file stays as long as its digest stands anywhere in a run's journals or in the registry, and for an hour after it was
kept. A removal of runs that was interrupted is finished.
"""

from __future__ import annotations

import re
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator
from pathlib import Path

from tachograph import removal
from tachograph.cli import document, words
from tachograph.cli.arguments import add_json, add_root, local_root

EXAMPLES = """\
  tachograph gc --dry-run
  tachograph rm baseline && tachograph gc
"""
# A run that is being recorded keeps a file first, and then says so in its journal.
GRACE_SECONDS = 3600.0
_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})")


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """Always 0."""
    root = local_root(options)
    removed = removal.hidden(root) if options.dry_run else removal.sweep(root)
    needed = _referred(root, removed)
    unneeded = [path for path in _old_files(root / "blobs") if path.name not in needed]
    size = sum(path.stat().st_size for path in unneeded)
    if not options.dry_run:
        for path in unneeded:
            path.unlink()
    if options.json:
        document.write(
            {
                "root": str(root),
                "files": [str(path) for path in unneeded],
                "bytes": size,
                "runs": removed,
                "deleted": not options.dry_run,
            }
        )
    else:
        would = "would be " if options.dry_run else ""
        if removed:
            print(f"what was left of {words.count(len(removed), 'removed run')} {would}deleted")
        print(f"{words.count(len(unneeded), 'file')} ({words.size(size)}) {would}deleted in {root}")
    return 0


def _referred(root: Path, removed: Collection[str]) -> set[str]:
    """The digests that stand anywhere in the journals and the registry, in events of kinds to come, too."""
    found: set[str] = set()
    journals = [path for path in root.glob("runs/*/*/*.jsonl") if path.parents[1].name not in removed]
    for path in (*journals, *root.glob("registry/**/*.json")):
        with open(path, "rb") as file:
            found.update(match.decode() for line in file for match in _DIGEST.findall(line))
    return found


def _old_files(folder: Path) -> Iterator[Path]:
    """Kept files, and drafts of such whose writers died."""
    before = time.time() - GRACE_SECONDS
    for path in sorted((*folder.glob("*/*"), *folder.glob(".draft-*"))):
        if path.is_file() and path.stat().st_mtime < before:
            yield path
