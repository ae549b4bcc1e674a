"""Tables in a bucket.

An object appears, and is replaced, when all of it is there. What a folder's lock does is done by leases: objects below
``.compacting``, one for each compaction that wants to be alone. Whoever has put one there and then finds another one
that is kept up goes away again; so at most one goes on. A compaction renews its lease with each file that it puts in
place; what has not been renewed for half an hour, by the bucket's own clock, was left by a compaction that was killed.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tachograph.bucket.objects import Objects, piece_length
from tachograph.errors import Error
from tachograph.events import encode
from tachograph.runtime import process

LEASES = ".compacting"
LEASE_SECONDS = 1800.0
WHOLE_BYTES = 1 << 20  # up to which a file is read with one request


class Bucket:
    """See :class:`tachograph.compact.destination.Destination`."""

    def __init__(self, url: str) -> None:
        self._objects = Objects(url)
        self.name = self._objects.name
        self._lease = f"{LEASES}/{os.urandom(8).hex()}"
        self._drafts = Path()
        self._sizes: dict[str, int] = {}

    @contextmanager
    def alone(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="tachograph-") as drafts:
            self._drafts = Path(drafts)
            self._renew_lease()
            try:
                self._look_around()
                yield
            finally:
                self._objects.delete([self._lease])

    def _renew_lease(self) -> None:
        me = process.this()
        self._objects.put(self._lease, encode({"host": me.host, "pid": me.pid}))

    def _look_around(self) -> None:
        leases = {lease.path: lease for lease in self._objects.listed(LEASES)}
        now = leases.pop(self._lease).changed
        if any(now - lease.changed < LEASE_SECONDS for lease in leases.values()):
            raise Error(f"another compaction is at work in {self.name}: run this again when it is done")
        if leases:
            self._objects.delete(list(leases))

    def files(self) -> dict[str, int]:
        self._sizes = {file.path: file.size for table in ("metrics", "runs") for file in self._objects.listed(table)}
        return dict(self._sizes)

    @contextmanager
    def reading(self, name: str) -> Iterator[Any]:
        size = self._sizes.get(name)
        if size is None:
            raise FileNotFoundError(f"{self.name}/{name} is not there")
        if size <= WHOLE_BYTES:
            yield io.BytesIO(self._objects.read(name))
            return
        with io.BufferedReader(_Ranges(self._objects, name, size), 1 << 16) as file:
            yield file

    @contextmanager
    def draft(self) -> Iterator[Path]:
        path = self._drafts / os.urandom(8).hex()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def publish(self, draft: Path, name: str) -> None:
        if self._objects.size(self._lease) is None:
            raise Error(f"another compaction went on in {self.name}, since this one was held up: run it again")
        self._renew_lease()
        length = piece_length(draft.stat().st_size)
        with open(draft, "rb") as file:
            self._objects.put_pieces(name, iter(lambda: file.read(length), b""), length)
        self._sizes[name] = draft.stat().st_size

    def remove(self, name: str) -> None:
        self._sizes.pop(name, None)
        self._objects.delete([name])


class _Ranges(io.RawIOBase):
    """An object as a file that is read where it is needed."""

    def __init__(self, objects: Objects, name: str, size: int) -> None:
        self._objects, self._name, self._size, self._at = objects, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        buffer[:length] = self._objects.read_range(self._name, self._at, length)
        self._at += length
        return length
