"""Sending a file to a server in parts: what was cut off is continued (see :mod:`tachograph.server.api.uploads`).

What was sent in parts lies with one server. Where several on one database take turns, and the next part comes to
another one that has its drafts in another folder, the file is sent anew, in one request.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from msgspec import Struct

from tachograph.runtime import process
from tachograph.sinks import Retry

LEAST_BYTES = 1 << 20  # of a part; that have to come over before a connection is cut, to go on at once
LAST_PATIENCE = 10.0  # the last part is answered when all of the file was read anew, and is on disk

T = TypeVar("T")


class TooLarge(Retry):
    """Something on the way takes smaller requests only."""


class Elsewhere(Retry):
    """What was sent before is not there: another server answers, which has its drafts elsewhere."""


class Ask(Protocol):
    """Makes a request and returns the answer."""

    def __call__(self, method: str, path: str, expected: type[T], **more: Any) -> T: ...


class Kept(Struct):
    """The answer when a file is stored."""

    digest: str


class _Upload(Struct):
    offset: int


class Upload:
    """The upload of a file of ``size`` bytes to ``address``, which had ``at`` of them when it was last asked; in parts
    of ``part_bytes``, or fewer where that is too much."""

    def __init__(self, ask: Ask, address: str, file: BinaryIO, size: int, at: int, part_bytes: int) -> None:
        self._ask, self._address, self._file, self._size = ask, address, file, size
        self.on_progress: Callable[[int], None] = lambda size: None
        self.at, self.part_bytes = at, part_bytes

    def send(self) -> None:
        """Send what is not there yet. Raises :class:`Retry`, which says whether anything got over since that look;
        :class:`Elsewhere` where parts lead to nothing."""
        before = self.at
        try:
            self.at = self._begin()
            self.on_progress(self.at)
            while not self._send_part():
                pass
        except Retry as retry:
            retry.moved = self.at > before
            raise

    def _begin(self) -> int:
        held = self._held_bytes("GET")
        return held if held <= self._size else self._held_bytes("DELETE")  # of what was here before, and wrong

    def _held_bytes(self, method: str) -> int:
        return self._ask(method, self._address, _Upload).offset

    def _send_part(self) -> bool:
        """Send the next part; whether the file is stored now. Where a connection was cut, it goes on at once as long as
        that gets anywhere."""
        part = _Part(self._file, self.at, min(self.part_bytes, self._size - self.at))
        is_last = self.at + len(part) == self._size
        try:
            self._patch(part, is_last)
            self.at += len(part)
            self.on_progress(len(part))
        except TooLarge:
            if self.part_bytes <= LEAST_BYTES:
                raise
            self.part_bytes //= 2
            return False
        except Retry as retry:
            before, self.at = self.at, self.at if retry.after else self._held_bytes("GET")
            if self.at < before + (1 if isinstance(retry, Elsewhere) else LEAST_BYTES):
                raise
            return False
        return is_last

    def _patch(self, part: _Part, is_last: bool) -> None:
        headers = {
            "Content-Type": "application/partial-upload",
            "Upload-Offset": str(self.at),
            "Upload-Complete": "?1" if is_last else "?0",
        }
        if is_last:
            self._ask("PATCH", self._address, Kept, data=part, headers=headers, patience=LAST_PATIENCE)
        else:
            self._ask("PATCH", self._address, _Upload, data=part, headers=headers)


class _Part:
    """A part of a file as a body: it is read piece by piece, and its length is known."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        file.seek(start)
        self._file, self._length, self._left = file, length, length

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """The next piece; nothing at the end."""
        piece = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        return piece


def name_of(path: Path) -> str:
    """A name for the upload of the file at ``path``: the same one whenever that is tried, and nobody else's."""
    identity = f"{process.this().host}:{os.path.abspath(path)}"
    return hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]
