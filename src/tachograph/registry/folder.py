"""The registry of a store in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tachograph.registry import names
from tachograph.runtime import locks, plain_files, whole_files

FOLDER = "registry"
LOCK_SECONDS = 20.0  # that a decision waits for others who decide about the same model
_SUFFIX = ".json"
_MOST_BYTES = 32 << 20  # of one decision


class FolderRecords:
    """Implements :class:`tachograph.registry.registry.Records`."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def models(self) -> list[str]:
        try:
            folders = [Path(entry.path) for entry in os.scandir(self.folder) if entry.is_dir()]
        except FileNotFoundError:
            return []
        found = [names.of_folder(folder.name) for folder in folders if _numbers(folder)]
        return sorted(name for name in found if name is not None)

    def path(self, model: str, number: int) -> Path:
        """The file of a decision."""
        return self.folder / names.folder(model) / f"{number}{_SUFFIX}"

    def read(self, model: str, after: int) -> Iterator[tuple[int, bytes]]:
        folder = self.folder / names.folder(model)
        for number in _numbers(folder):
            if number > after:
                yield number, _content(self.path(model, number))

    def append(self, model: str, number: int, content: bytes) -> bool:
        folder = self.folder / names.folder(model)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"a decision of {len(content):,} bytes is too large: {_MOST_BYTES:,} is the most")
        folder.mkdir(parents=True, exist_ok=True)
        path = self.path(model, number)
        with locks.locked(folder / ".lock", LOCK_SECONDS):
            if path.exists() or number != max(_numbers(folder), default=0) + 1:
                return False
            whole_files.write(path, content, durable=True)
        return True


def _numbers(folder: Path) -> list[int]:
    try:
        found = [entry.name.removesuffix(_SUFFIX) for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX)]
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in found if name.isascii() and name.isdigit() and len(name) < 19)


def _content(path: Path) -> bytes:
    """The content of a decision's file; what can't be read, or is too large to be one, has none."""
    try:
        with plain_files.opened(path) as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError:
        return b""
    return content if len(content) <= _MOST_BYTES else b""
