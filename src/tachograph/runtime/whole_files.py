"""Files that are there as a whole or not at all: written under another name beside them, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tachograph.runtime.locks import sync_folder

DRAFT = ".draft-"  # how the names of drafts begin: those of killed processes can be told by it


@contextmanager
def draft(path: Path, durable: bool = False) -> Iterator[Path]:
    """A path to write to. When the block ends well, that file takes the place of ``path``; else it is deleted.

    With ``durable`` the content and the name are on disk then.
    """
    draft_path = path.with_name(f"{DRAFT}{os.getpid()}-{os.urandom(6).hex()}")
    try:
        yield draft_path
        if durable:
            with open(draft_path, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(draft_path, path)
    finally:
        draft_path.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write(path: Path, content: bytes, durable: bool = False) -> None:
    """Write ``content`` to ``path``, whole or not at all; see :func:`draft`."""
    with draft(path, durable) as draft_path:
        draft_path.write_bytes(content)
