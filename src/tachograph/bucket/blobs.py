"""Files in a bucket, and how those that nobody needs any more are deleted beside senders that know nothing of it.

    blobs/<aa>/<digest>    a file
    doomed/<digest>        nothing referred to the file when this came: after an hour it may be deleted
    doomed/.collecting-*   a collection is at work

A sender asks first whether a file is held, then sends events that rely on it, within the hour or anew. A collection
first only dooms what nothing refers to. One that finds a file doomed for an hour, and still nothing that refers to it,
deletes it. Meanwhile a sender that relies on the file may have asked: then it has seen the mark, and has taken it away.

Mark and deletion can't miss each other. The collection says that it is at work, and then looks which marks there are.
The sender takes the mark away, and then looks whether a collection is at work, for which it waits. Whichever comes
first, the other one sees it, since buckets show at once what was written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tachograph.bucket.layout import BLOBS, blob_path
from tachograph.bucket.objects import PAGE, Object, Objects
from tachograph.errors import Retry
from tachograph.events import encode
from tachograph.journal.blobs import GRACE_SECONDS, Collected
from tachograph.runtime import process

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

DOOMED = "doomed"
AT_WORK = f"{DOOMED}/.collecting-"
WORK_SECONDS = 600.0  # for which a collection deletes, by its own clock; the next one goes on
STALE_SECONDS = 1800.0  # after which it was killed, by the clock of whoever waits for it
WAIT_SECONDS = 20.0
FRESH_SECONDS = 600.0  # for which a sender goes by the marks that it has seen: a later one has no effect for an hour
TOGETHER = 500  # objects that are deleted with one request
AT_ONCE = 16  # requests
FEW = 30  # files that are asked for one by one; of more, the bucket lists what it has
PAGES = 20  # files that are asked for with the time that a list of PAGE objects takes


def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # senders do without: a process that is ending can't import it

    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tachograph bucket")


class Shelves:
    """The files of a bucket."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._marks: set[str] = set()
        self._looked = -FRESH_SECONDS

    # -- for those who send --

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of ``digests`` that are not held. The others will be for an hour, and then as long as an event refers
        to them. Raises ``Retry`` while a collection is at work."""
        if time.monotonic() - self._looked > FRESH_SECONDS:
            self._look()
        if mine := [mark for digest in digests if (mark := _mark(digest)) in self._marks]:
            self._looked = -FRESH_SECONDS
            self._objects.delete(mine)
            self._look()
        return self._lacking(digests, map)  # one after the other: a process that is ending may begin no pool of threads

    def _look(self) -> None:
        """Find out what is doomed. Raises ``Retry`` while a collection is at work."""
        looked = time.monotonic()
        marks, at_work = self._doomed()
        if any(time.time() - one.changed < STALE_SECONDS for one in at_work.values()):
            raise Retry(WAIT_SECONDS, f"{self._objects.name}: files are being cleared away")
        self._marks, self._looked = set(marks), looked

    def _doomed(self) -> tuple[dict[str, Object], dict[str, Object]]:
        """The marks, and the collections that are at work."""
        found = {one.path: one for one in self._objects.listed(DOOMED)}
        at_work = {path: one for path, one in found.items() if path.startswith(AT_WORK)}
        return {path: one for path, one in found.items() if path not in at_work}, at_work

    # -- for those who read --

    def lacking(self, digests: Sequence[str]) -> list[str]:
        """Those of ``digests`` that are not held: several requests at a time, or for many a look at what there is."""
        with _pool() as pool:
            return self._lacking(digests, pool.map)

    def _lacking(
        self, digests: Sequence[str], ask: Callable[[Callable[[str], int | None], list[str]], Iterable[int | None]]
    ) -> list[str]:
        left = sorted(set(digests))
        held = set[str]()
        if len(left) > FEW:
            left, held = self._looked_for(left)
        sizes = list(ask(self._objects.size, [blob_path(digest) for digest in left]))
        held |= {digest for digest, size in zip(left, sizes, strict=True) if size is not None}
        return [digest for digest in digests if digest not in held]

    def _looked_for(self, digests: list[str]) -> tuple[list[str], set[str]]:
        """Those of many digests in order that a look at some pages did not come to, and those that it found."""
        pages, last = len(digests) // PAGES, ""
        paths = {blob_path(digest): digest for digest in digests}
        held = set[str]()
        for count, one in enumerate(islice(self._objects.listed(BLOBS), pages * PAGE), start=1):
            last = one.path if count == pages * PAGE else ""
            if one.path in paths:
                held.add(paths[one.path])
        return [digest for path, digest in paths.items() if last and path > last], held

    # -- for those who clear away --

    def collect(self, needed: set[str], dry: bool) -> Collected:
        """Delete files that have been doomed for an hour, and doom others; but those that are ``needed`` (digests,
        without what stands before their digits)."""
        if dry:
            return self._sorted(needed, self._doomed()[0], time.time()).told(deleted=False)
        me, until = f"{AT_WORK}{os.urandom(8).hex()}", time.monotonic() + WORK_SECONDS
        self._objects.put(me, encode(process.this()))
        marks, at_work = self._doomed()
        now = at_work.pop(me).changed  # by the bucket's own clock, as the others
        stale = [path for path, one in at_work.items() if one.changed < now - STALE_SECONDS or self._is_gone(path)]
        found = self._sorted(needed, marks, now)
        self._delete(found, until)
        self._objects.delete([me, *stale])
        with _pool() as pool:
            list(pool.map(lambda path: self._objects.put(path, b""), found.new))
        return found.told(deleted=True)

    def _is_gone(self, at_work: str) -> bool:
        """Whether a collection was killed, on this machine."""
        try:
            return process.is_gone(msgspec.json.decode(self._objects.read(at_work), type=process.Process))
        except (FileNotFoundError, ValueError):
            return False

    def _sorted(self, needed: set[str], marks: dict[str, Object], now: float) -> _Found:
        found = _Found([], [], set(marks))
        for one in self._objects.listed(BLOBS):
            digest = one.path.rpartition("/")[2]
            if digest in needed or one.changed > now - GRACE_SECONDS:
                continue
            mark = marks.get(_mark(digest))
            if mark is None or mark.changed < one.changed:
                found.new.append(_mark(digest))
                continue
            found.useless.discard(mark.path)
            if mark.changed < now - GRACE_SECONDS:
                found.unneeded.append(one)
        return found

    def _delete(self, found: _Found, until: float) -> None:
        for some in pieces([one.path for one in found.unneeded]):
            if time.monotonic() > until:
                return
            self._objects.delete(some)
            found.useless.update(_mark(path.rpartition("/")[2]) for path in some)
        for some in pieces(sorted(found.useless)):
            self._objects.delete(some)


class _Found(NamedTuple):
    """The files to delete; marks to make, and marks that say nothing any more."""

    unneeded: list[Object]
    new: list[str]
    useless: set[str]

    def told(self, deleted: bool) -> Collected:
        size = sum(one.size for one in self.unneeded)
        return Collected([one.path for one in self.unneeded], size, later=len(self.new), deleted=deleted)


def _mark(digest: str) -> str:
    return f"{DOOMED}/{digest.removeprefix('sha256:')}"


def pieces(paths: list[str]) -> Iterator[list[str]]:
    """The paths, as many at a time as one request deletes."""
    for start in range(0, len(paths), TOGETHER):
        yield paths[start : start + TOGETHER]
