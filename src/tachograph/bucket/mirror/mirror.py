"""A bucket's store, mirrored: a folder in the user's cache that holds the same tree, brought up to date with each
question by fetching what is new. Over it lies the ordinary index; files are fetched when they are asked for.

    <cache>/runs/ blobs/ removed.jsonl ...    a store as any other
    <cache>/mirror.sqlite                     what was fetched, see :mod:`tachograph.bucket.mirror.state`
    <cache>/mirror.lock                       held by whoever fetches; other processes wait, and then find it there

It may be deleted at any time, and is then fetched again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote

from tachograph.bucket import layout
from tachograph.bucket.mirror.copying import Lost, add
from tachograph.bucket.mirror.listing import Group, Listed, Look, ahead
from tachograph.bucket.mirror.state import MirroredWriter, MirrorState, discard
from tachograph.bucket.objects import PIECE, Objects
from tachograph.errors import Damaged, Error, Retry
from tachograph.journal import tombstones
from tachograph.journal.blobs import Blobs
from tachograph.runtime import whole_files
from tachograph.runtime.cache_folder import cache_folder
from tachograph.runtime.locks import locked
from tachograph.runtime.sqlite_errors import is_damaged, is_missing

AT_ONCE = 8  # requests
KEEP_EVERY = 200  # objects, and what is known of them

Job = tuple[Group | Listed, int, Callable[[], bytes | None]]


class Mirror:
    """The mirror of the store at ``url``. Connects to nothing yet; raises ``Error`` for a URL that can't be used.

    Safe to use from several threads and processes.
    """

    def __init__(self, url: str) -> None:
        self.objects = Objects(url)
        self.name = self.objects.name
        self.root = cache_folder(Path(os.sep, "buckets", quote(f"{self.objects.endpoint} {self.name}", safe="")))
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tachograph bucket")
        self._seen = -1.0

    def _survive_fork(self) -> None:
        if self._process != os.getpid():  # threads don't come along
            self._begin()

    def refresh(self, everything: bool = False) -> bool:
        """Fetch what is new; whether anything has come since this was called last, by whomever it was fetched.
        ``everything`` has all of the bucket looked at, whenever that was done last.

        Raises ``Error`` where the bucket can't be reached, or the cache can't be written.
        """
        self._survive_fork()
        try:
            try:
                return self._refresh(everything)
            except (FileNotFoundError, NotADirectoryError):  # deleted under us
                return self._refresh(everything)
            except sqlite3.DatabaseError as error:
                if not (is_damaged(error) or is_missing(error)):
                    raise
                discard(self.root)
                return self._refresh(everything)
        except (sqlite3.DatabaseError, OSError) as error:
            raise Error(f"the copy of {self.name} in {self.root} can't be kept ({error}): make room there") from error

    def fetch(self, digest: str) -> None:
        """Fetch a file to where blobs lie, if the bucket has it. Raises ``Damaged`` where it has another digest."""
        self._survive_fork()
        path = layout.blob_path(digest)
        size = self.objects.size(path)
        if size is None:
            return
        parts = ((start, min(PIECE, size - start)) for start in range(0, size, PIECE))
        jobs = ((start, length, partial(self.objects.read_range, path, start, length)) for start, length in parts)
        blobs, found = Blobs(self.root), hashlib.sha256()
        draft = blobs.draft()
        try:
            with open(draft, "xb") as file:
                for _, piece in ahead(self._pool, jobs):
                    found.update(piece)
                    file.write(piece)
            if f"sha256:{found.hexdigest()}" != digest:
                raise Damaged(f"{self.name}/{path} does not match its digest; restore it from a copy")
            blobs.publish(draft, digest)
        finally:
            draft.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the threads back; they come again when they are needed."""
        pool, self._pool = self._pool, ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tachograph bucket")
        pool.shutdown()

    # -- fetching --

    def _refresh(self, everything: bool) -> bool:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock, locked(self.root / "mirror.lock"):
            state = MirrorState(self.root)
            try:
                if everything:
                    state.set_fact("wide at", 0.0)
                self._look(state)
                state.keep()
                seen, self._seen = self._seen, state.fact("version")
                return seen != self._seen
            except Retry:
                state.keep()  # what was fetched until now is good
                raise
            finally:
                state.close()

    def _look(self, state: MirrorState) -> None:
        if state.is_new:
            shutil.rmtree(self.root / layout.RUNS, ignore_errors=True)  # nothing is known of what lies there
        stones = self._pool.submit(self._find_stones)
        look = Look(self.objects, state, self._pool, self.root / layout.RUNS)
        again = self._fetch(state, look.changed())
        for run in look.gone:
            self._forget(state, run)
        if again:
            self._fetch(state, map(look.group, again))
        if self._take_stones(*stones.result()):
            state.change()

    def _fetch(self, state: MirrorState, groups: Iterable[Group]) -> set[str]:
        """Fetch what is new of these runs; those of which something was lost on the way."""
        count, again = 0, set[str]()
        for wanted, content in ahead(self._pool, self._jobs(state, groups)):
            run = wanted.run if isinstance(wanted, Group) else wanted.segment.run
            if run in again:
                continue
            if isinstance(wanted, Group):
                state.set_run(run, wanted.known, list(state.writers(run).values()))
                continue
            if not self._add(state, wanted, content):
                again.add(run)
            state.change()
            count += 1
            if count % KEEP_EVERY == 0:
                state.keep()
        return again

    def _jobs(self, state: MirrorState, groups: Iterable[Group]) -> Iterator[Job]:
        """The objects to fetch of each run, and behind them the run itself."""
        for group in groups:
            if not (self.root / layout.RUNS / group.run).is_dir():
                state.forget(group.run)
            writers, copied = state.writers(group.run), state.copied(group.run)
            for one in sorted(group.listed, key=lambda one: (one.segment.writer, one.segment.first)):
                writer = writers.get(one.segment.writer)
                if one.segment.last and writer and writer.holds(one.segment.first, one.segment.last):
                    continue
                if not one.segment.last and copied.get(one.object.path) == one.object.tag:
                    continue
                yield one, one.object.size, partial(self._read, one.object.path)
            yield group, 0, lambda: None

    def _add(self, state: MirrorState, wanted: Listed, content: bytes | None) -> bool:
        """Add an object to the journals; False where it, or what it is to be added to, is not there any more."""
        segment = wanted.segment
        if content is None:
            return False
        writer = state.writers(segment.run).get(segment.writer) or MirroredWriter(segment.run, segment.writer)
        try:
            add(writer, self.root / layout.RUNS / segment.run / segment.writer, wanted, content)
        except Lost:
            self._forget(state, segment.run)
            return False
        state.save(writer)
        if not segment.last:
            state.set_copied(wanted.object.path, segment.run, wanted.object.tag)
        return True

    def _forget(self, state: MirrorState, run: str) -> None:
        state.forget(run)
        state.change()
        shutil.rmtree(self.root / layout.RUNS / run, ignore_errors=True)

    def _read(self, path: str) -> bytes | None:
        """An object's content; None where it was deleted since it was listed."""
        try:
            return self.objects.read(path)
        except FileNotFoundError:
            return None

    def _find_stones(self) -> tuple[bytes, list[str]]:
        """Which runs were removed: what was copied from a folder, and the paths of tombstones."""
        return self._read(tombstones.FILENAME) or b"", [one.path for one in self.objects.listed(layout.REMOVED)]

    def _take_stones(self, copied: bytes, stones: list[str]) -> bool:
        """Take over which runs were removed; whether that is new. Tombstones never change: each is fetched once."""
        path = self.root / tombstones.FILENAME
        before = path.read_bytes() if path.exists() else b""
        known = {layout.stone_path(stone.id, stone.at): line for line in before.splitlines() if (stone := _stone(line))}
        jobs = ((one, 0, partial(self._read, one)) for one in stones if one not in known and layout.stone(one))
        known |= {one: content.strip() for one, content in ahead(self._pool, jobs) if content and _stone(content)}
        lines = sorted((known[one] for one in stones if one in known), key=lambda line: tombstones.read(line).at)
        content = copied.rstrip(b"\n") + b"\n" * bool(copied and lines) + b"\n".join(lines) + b"\n"
        if content == (before or b"\n"):
            return False
        whole_files.write(path, content)
        return True


def _stone(line: bytes) -> tombstones.Removed | None:
    try:
        return tombstones.read(line)
    except ValueError:
        return None
