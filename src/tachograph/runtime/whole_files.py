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
    """The name of a draft, which takes the place of ``path`` when the block ends well, and else is gone.

    What is ``durable`` is on disk then, and so is its name.
    """
    made = path.with_name(f"{DRAFT}{os.getpid()}-{os.urandom(6).hex()}")
    try:
        yield made
        if durable:
            with open(made, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(made, path)
    finally:
        made.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write(path: Path, content: bytes, durable: bool = False) -> None:
    """Let ``path`` hold ``content``."""
    with draft(path, durable) as made:
        made.write_bytes(content)
