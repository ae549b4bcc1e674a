"""Copying kept files to where people want them: checked on the way, and gone on with after an interruption."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tachograph.errors import Damaged, NotAllowed
from tachograph.journal.blobs import CHUNK, digest_of
from tachograph.runtime import whole_files
from tachograph.runtime.whole_files import DRAFT


def lacking(target: Path, files: Mapping[Path, str]) -> list[Path]:
    """Those of some files below ``target``, by digest, that are not there yet.

    Raises ``NotAllowed`` where something else is there.
    """
    for path in _there(target):
        if path not in files and not path.name.startswith(DRAFT):
            raise NotAllowed(
                f"{path} is there, and is no part of what was kept: nothing was copied; name another folder"
            )
    missing = [path for path in files if not os.path.lexists(path)]
    for path in files.keys() - set(missing):
        if not path.is_file() or digest_of(path) != files[path]:
            raise NotAllowed(f"{path} is there, with another content: nothing was copied; name another folder")
    return missing


def copy(blob: Path, target: Path, digest: str, on_copied: Callable[[int], None]) -> None:
    """Copy a kept file, whole or not at all. Raises ``Damaged`` where its content is not that of its digest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    with whole_files.draft(target, durable=True) as draft:
        with open(blob, "rb") as source, open(draft, "xb") as copied:
            while piece := source.read(CHUNK):
                found.update(piece)
                copied.write(piece)
                on_copied(len(piece))
        if f"sha256:{found.hexdigest()}" != digest:
            raise Damaged(f"{blob} does not match its digest; restore it from a copy of the store")


def remove_drafts(files: Mapping[Path, str]) -> None:
    """Remove what copyings that were killed left beside some files."""
    for folder in {path.parent for path in files}:
        for draft in folder.glob(f"{DRAFT}*"):
            pid = draft.name.removeprefix(DRAFT).partition("-")[0]
            if pid.isdecimal() and not psutil.pid_exists(int(pid)):
                draft.unlink(missing_ok=True)


def _there(target: Path) -> list[Path]:
    """The files in a folder; what is no folder is a file."""
    if not os.path.lexists(target):
        return []
    return (
        [path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()] if target.is_dir() else [target]
    )
