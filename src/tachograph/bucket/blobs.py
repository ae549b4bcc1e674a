"""Files in a bucket, and how those that nobody needs any more are deleted while others send.

    blobs/<aa>/<digest>    a file
    doomed/<digest>        a mark: nothing referred to the file when this was made. After an hour it may be deleted
    doomed/.collecting-*   a collection is at work

A collection deletes in two steps. It marks the files to which nothing refers. Those that were marked an hour ago, and
to which still nothing refers, it deletes. A sender asks whether the bucket has a file before it sends events that refer
to it, and sends these within an hour or asks again. If the file is marked, the sender deletes the mark.

A collection can't delete a file on which a sender relies. The collection first says that it is at work, then lists the
marks. The sender first deletes the mark, then looks whether a collection is at work, and waits for it if so. Whichever
comes first, the other one sees it, since buckets show at once what was written.
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
FRESH_SECONDS = 600.0  # for which a sender trusts its list of marks: a later mark has no effect for an hour
TOGETHER = 500  # objects that are deleted with one request
AT_ONCE = 16  # requests
FEW = 30  # files that are asked for one by one; of more, the bucket lists what it has
PAGES = 20  # files that are asked for with the time that a list of PAGE objects takes


def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # senders do without: a process that is ending can't import it

    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tachograph bucket")


class BucketFiles:
    """The files of a bucket, by their digests."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._marks: set[str] = set()
        self._looked = -FRESH_SECONDS

    # -- for those who send --

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of ``digests`` that the bucket lacks. It keeps the others for an hour, and then as long as an event
        refers to them. Raises ``Retry`` while a collection is at work."""
        if time.monotonic() - self._looked > FRESH_SECONDS:
            self._look()
        if marks := [mark for digest in digests if (mark := _mark(digest)) in self._marks]:
            self._looked = -FRESH_SECONDS
            self._objects.delete(marks)
            self._look()
        return self._lacking(digests, map)  # one by one: a process that is ending can't start a pool of threads

    def _look(self) -> None:
        """List the marks. Raises ``Retry`` while a collection is at work."""
        looked = time.monotonic()
        marks, at_work = self._marks_and_collections()
        if any(time.time() - collection.changed < STALE_SECONDS for collection in at_work.values()):
            raise Retry(WAIT_SECONDS, f"{self._objects.name}: files are being cleared away")
        self._marks, self._looked = set(marks), looked

    def _marks_and_collections(self) -> tuple[dict[str, Object], dict[str, Object]]:
        """The marks, and the collections that are at work, by path."""
        objects = {object.path: object for object in self._objects.listed(DOOMED)}
        at_work = {path: object for path, object in objects.items() if path.startswith(AT_WORK)}
        return {path: object for path, object in objects.items() if path not in at_work}, at_work

    # -- for those who read --

    def lacking(self, digests: Sequence[str]) -> list[str]:
        """Those of ``digests`` that the bucket lacks. Few are asked for in parallel; for many the bucket is listed."""
        with _pool() as pool:
            return self._lacking(digests, pool.map)

    def _lacking(
        self, digests: Sequence[str], ask: Callable[[Callable[[str], int | None], list[str]], Iterable[int | None]]
    ) -> list[str]:
        pending = sorted(set(digests))
        present = set[str]()
        if len(pending) > FEW:
            pending, present = self._listed(pending)
        sizes = list(ask(self._objects.size, [blob_path(digest) for digest in pending]))
        present |= {digest for digest, size in zip(pending, sizes, strict=True) if size is not None}
        return [digest for digest in digests if digest not in present]

    def _listed(self, digests: list[str]) -> tuple[list[str], set[str]]:
        """Looks for many digests, which are in order, in a list of what the bucket has. That has some pages at most:
        returns the digests that come behind them, and those that are there."""
        pages, last = len(digests) // PAGES, ""
        paths = {blob_path(digest): digest for digest in digests}
        present = set[str]()
        for count, object in enumerate(islice(self._objects.listed(BLOBS), pages * PAGE), start=1):
            last = object.path if count == pages * PAGE else ""
            if object.path in paths:
                present.add(paths[object.path])
        return [digest for path, digest in paths.items() if last and path > last], present

    # -- for those who clear away --

    def collect(self, needed: set[str], dry: bool) -> Collected:
        """Delete files that were marked an hour ago, and mark others: all but those that are ``needed`` (digests,
        without their "sha256:"). ``dry`` only says what would be deleted."""
        if dry:
            return self._plan(needed, self._marks_and_collections()[0], time.time()).summary(deleted=False)
        me, until = f"{AT_WORK}{os.urandom(8).hex()}", time.monotonic() + WORK_SECONDS
        self._objects.put(me, encode(process.this()))
        marks, at_work = self._marks_and_collections()
        now = at_work.pop(me).changed  # by the bucket's own clock, as the others
        stale = [
            path
            for path, collection in at_work.items()
            if collection.changed < now - STALE_SECONDS or self._is_gone(path)
        ]
        plan = self._plan(needed, marks, now)
        self._delete(plan, until)
        self._objects.delete([me, *stale])
        with _pool() as pool:
            list(pool.map(lambda path: self._objects.put(path, b""), plan.new_marks))
        return plan.summary(deleted=True)

    def _is_gone(self, at_work: str) -> bool:
        """Whether a collection was killed, on this machine."""
        try:
            return process.is_gone(msgspec.json.decode(self._objects.read(at_work), type=process.Process))
        except (FileNotFoundError, ValueError):
            return False

    def _plan(self, needed: set[str], marks: dict[str, Object], now: float) -> _Plan:
        plan = _Plan([], [], set(marks))
        for file in self._objects.listed(BLOBS):
            digest = file.path.rpartition("/")[2]
            if digest in needed or file.changed > now - GRACE_SECONDS:
                continue
            mark = marks.get(_mark(digest))
            if mark is None or mark.changed < file.changed:
                plan.new_marks.append(_mark(digest))
                continue
            plan.old_marks.discard(mark.path)
            if mark.changed < now - GRACE_SECONDS:
                plan.to_delete.append(file)
        return plan

    def _delete(self, plan: _Plan, until: float) -> None:
        """Delete files as long as there is time, and when all are deleted, the marks that are of no use any more."""
        for paths in pieces([file.path for file in plan.to_delete]):
            if time.monotonic() > until:
                return
            self._objects.delete(paths)
            plan.old_marks.update(_mark(path.rpartition("/")[2]) for path in paths)
        for paths in pieces(sorted(plan.old_marks)):
            self._objects.delete(paths)


class _Plan(NamedTuple):
    """What a collection does: the files to delete, the paths of marks to make, and those of marks to delete."""

    to_delete: list[Object]
    new_marks: list[str]
    old_marks: set[str]

    def summary(self, deleted: bool) -> Collected:
        size = sum(file.size for file in self.to_delete)
        return Collected([file.path for file in self.to_delete], size, later=len(self.new_marks), deleted=deleted)


def _mark(digest: str) -> str:
    return f"{DOOMED}/{digest.removeprefix('sha256:')}"


def pieces(paths: list[str]) -> Iterator[list[str]]:
    """The paths in lists, each as long as one request can delete."""
    for start in range(0, len(paths), TOGETHER):
        yield paths[start : start + TOGETHER]
