"""Finds the runs in a bucket that have something new, with as few requests as possible.

A request lists a thousand objects, in the order of their paths. Ids of runs begin with the time, so what is new is
mostly at the end. Each look lists the newest runs, with one or two requests, and each older run that is still going on.
A bucket of up to a thousand objects is looked at as a whole that way. In a larger one, older runs that are over may
still change: one is resumed or removed, or was recorded offline and is sent a month later. A look at everything finds
that out; the longer it takes, the longer it is until the next one, whoever does it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from tachograph.bucket import layout
from tachograph.bucket.layout import Segment
from tachograph.bucket.mirror.state import ListedRun, MirrorState
from tachograph.bucket.objects import PAGE, Object, Objects

FRONT = 800  # objects of the newest runs, which every look lists
WATCHED = 100  # older runs that are listed each by itself
SILENT_SECONDS = 86400.0  # a run without an end from which nothing came for so long is not watched
SECONDS_A_PAGE = 5.0  # between looks at everything
STRETCH = 5 * PAGE  # objects that are listed by one thread in a look at everything
AHEAD, AHEAD_BYTES = 16, 32 << 20  # requests that are under way or wait for those before them

T = TypeVar("T")
R = TypeVar("R")


class Listed(NamedTuple):
    """An object that is a segment."""

    object: Object
    segment: Segment


class Group(NamedTuple):
    """A run's segments."""

    run: str
    listed: list[Listed]

    @property
    def as_listed(self) -> ListedRun:
        return ListedRun(len(self.listed), max((listed.object.changed for listed in self.listed), default=0.0))


class Look:
    """One look at the bucket, for the mirror whose runs lie in ``folder``.

    After :meth:`changed`, ``gone`` are the runs that are no longer in the bucket.
    """

    def __init__(self, objects: Objects, state: MirrorState, pool: ThreadPoolExecutor, folder: Path) -> None:
        self._objects, self._state, self._pool, self._folder = objects, state, pool, folder
        self.gone: list[str] = []

    def changed(self) -> Iterator[Group]:
        """The runs whose objects are not those that the mirror knows."""
        now = time.time()
        front = self._front()
        wide_at, pages = self._state.fact("wide at"), self._state.fact("wide pages")
        if front and wide_at <= now < wide_at + pages * SECONDS_A_PAGE:
            yield from self._stretch(front)
            yield from self._watched(front, now)
        else:
            yield from self._everything()
            self._state.set_fact("wide at", now)
            self._state.set_fact("wide pages", 1 + sum(count for _, count in self._state.newest()) // PAGE)

    def _front(self) -> str:
        """The first of the newest runs, which every look lists; "" where these are all runs."""
        objects = 0
        for run, count in self._state.newest():
            objects += count
            if objects > FRONT:
                return run
        return ""

    def _watched(self, front: str, now: float) -> Iterator[Group]:
        """The older runs that are still going on and have something new."""
        runs = self._state.going_on(front, now - SILENT_SECONDS, WATCHED)
        for run, group in ahead(self._pool, ((run, 0, partial(self.group, run)) for run in runs)):
            if not group.listed:
                self.gone.append(run)
            elif self._differs(group, self._state.run(run)):
                yield group

    def group(self, run: str) -> Group:
        """The segments of a run that are there now."""
        return Group(run, list(_segments(self._objects.listed(layout.run_folder(run)))))

    def _everything(self) -> Iterator[Group]:
        """All runs that have changed. Several threads list all stretches but the last one."""
        bounds = self._bounds()
        jobs = ((start, 0, self._differing(start, end)) for start, end in pairwise(bounds))
        for _, (groups, gone) in ahead(self._pool, jobs):
            yield from groups
            self.gone += gone
        yield from self._stretch(bounds[-1])

    def _differing(self, start: str, end: str) -> Callable[[], tuple[list[Group], set[str]]]:
        """Work for a thread: it returns the runs of a stretch that have changed, and those that are gone."""
        known = self._state.runs(start, end)

        def work() -> tuple[list[Group], set[str]]:
            listed, changed = set[str](), []
            for group in self._groups(start, end):
                listed.add(group.run)
                if self._differs(group, known.get(group.run)):
                    changed.append(group)
            return changed, known.keys() - listed

        return work

    def _bounds(self) -> list[str]:
        """The run with which each stretch begins, "" for the first one."""
        bounds, objects = [], 0
        for run, count in self._state.newest():
            objects += count
            if objects >= STRETCH:
                bounds.append(run)
                objects = 0
        return ["", *reversed(bounds)]

    def _stretch(self, start: str) -> Iterator[Group]:
        """The runs that have changed, from ``start`` on, each as soon as it is listed: much may be new there."""
        known, listed = self._state.runs(start), set[str]()
        for group in self._groups(start):
            listed.add(group.run)
            if self._differs(group, known.get(group.run)):
                yield group
        self.gone += known.keys() - listed

    def _differs(self, group: Group, known: ListedRun | None) -> bool:
        return group.as_listed != known or not (self._folder / group.run).is_dir()  # somebody deleted that

    def _groups(self, start: str, end: str = "") -> Iterator[Group]:
        """The runs from ``start`` on and before ``end``, where that is given, in the order of their paths."""
        after = f"{layout.run_folder(start)}/!" if start else ""  # before any writer; some servers skip the folder else
        segments = _segments(self._objects.listed(layout.RUNS, after))
        for run, listed in groupby(segments, lambda listed: listed.segment.run):
            if end and f"{run}/" >= f"{end}/":
                return
            yield Group(run, list(listed))


def _segments(objects: Iterable[Object]) -> Iterator[Listed]:
    for object in objects:
        segment = layout.segment(object.path)
        if segment is not None:
            yield Listed(object, segment)


def ahead(pool: ThreadPoolExecutor, jobs: Iterable[tuple[T, int, Callable[[], R]]]) -> Iterator[tuple[T, R]]:
    """The results of jobs, in their order, while some of the jobs that follow are under way.

    Each job comes with a tag, which is returned beside its result, and the size of the result in bytes.
    """
    waiting: deque[tuple[T, int, Future[R]]] = deque()
    size = 0

    def first() -> tuple[T, R]:
        tag, _, future = waiting.popleft()
        return tag, future.result()

    try:
        for tag, length, job in jobs:
            waiting.append((tag, length, pool.submit(job)))
            size += length
            while waiting and (len(waiting) > AHEAD or size > AHEAD_BYTES):
                size -= waiting[0][1]
                yield first()
        while waiting:
            yield first()
    finally:
        for _, _, future in waiting:
            future.cancel()
