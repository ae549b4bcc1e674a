"""The mirror of a store in a bucket: a folder in the user's cache that holds the same tree.

Each question first fetches what is new. The mirror has an index as any store has; files are fetched when they are asked
for.

    <cache>/runs/ blobs/ removed.jsonl ...    a store as any other
    <cache>/mirror.sqlite                     what was fetched, see :mod:`tachograph.bucket.mirror.state`
    <cache>/mirror.lock                       locked by whoever fetches; other processes wait, and find it done

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
from tachograph.runtime import plain_files, whole_files
from tachograph.runtime.cache_folder import cache_folder
from tachograph.runtime.locks import locked
from tachograph.runtime.sqlite_errors import is_damaged, is_missing

AT_ONCE = 8  # requests
KEEP_EVERY = 200  # objects are fetched, and then what is known of them is made to last

Job = tuple[Group | Listed, int, Callable[[], bytes | None]]


class Mirror:
    """The mirror of the store at ``url``. Connects to nothing yet; raises ``Error`` for a URL that can't be used.

    Safe to use from several threads and processes.
    """

    def __init__(self, url: str) -> None:
        self.objects = Objects(url)
        self.name = self.objects.name
        self.root = cache_folder(Path(os.sep, "buckets", quote(f"{self.objects.endpoint} {self.name}", safe="")))
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tachograph bucket")
        self._version = -1.0  # of the tree, when it was last looked at through this mirror

    def _survive_fork(self) -> None:
        if self._process != os.getpid():  # threads don't come along
            self._reset()

    def refresh(self, everything: bool = False) -> bool:
        """Fetch what is new. Returns whether the mirror has changed since the last call, whoever fetched that.
        With ``everything`` the whole bucket is looked at, even if that was done a moment ago.

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
        """Fetch a file into the mirror, if the bucket has it. Raises ``Damaged`` where it has another digest."""
        self._survive_fork()
        path = layout.blob_path(digest)
        size = self.objects.size(path)
        if size is None:
            return
        parts = ((start, min(PIECE, size - start)) for start in range(0, size, PIECE))
        jobs = ((start, length, partial(self.objects.read_range, path, start, length)) for start, length in parts)
        blobs, content_digest = Blobs(self.root), hashlib.sha256()
        draft = blobs.draft()
        try:
            with open(draft, "xb") as file:
                for _, piece in ahead(self._pool, jobs):
                    content_digest.update(piece)
                    file.write(piece)
            if f"sha256:{content_digest.hexdigest()}" != digest:
                raise Damaged(f"{self.name}/{path} does not match its digest; restore it from a copy")
            blobs.publish(draft, digest)
        finally:
            draft.unlink(missing_ok=True)

    def close(self) -> None:
        """End the threads; they are started again when they are needed."""
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
                before, self._version = self._version, state.fact("version")
                return before != self._version
            except Retry:
                state.keep()  # what was fetched until now is good
                raise
            finally:
                state.close()

    def _look(self, state: MirrorState) -> None:
        if state.is_new:
            shutil.rmtree(self.root / layout.RUNS, ignore_errors=True)  # nothing is known of what lies there
        tombstones_found = self._pool.submit(self._find_tombstones)
        look = Look(self.objects, state, self._pool, self.root / layout.RUNS)
        again = self._fetch(state, look.changed())
        for run in look.gone:
            self._forget(state, run)
        if again:
            self._fetch(state, map(look.group, again))
        if self._take_tombstones(*tombstones_found.result()):
            state.change()

    def _fetch(self, state: MirrorState, groups: Iterable[Group]) -> set[str]:
        """Fetch what is new of these runs. Returns those that have to be fetched again: something of them was deleted
        meanwhile."""
        count, again = 0, set[str]()
        for wanted, content in ahead(self._pool, self._jobs(state, groups)):
            run = wanted.run if isinstance(wanted, Group) else wanted.segment.run
            if run in again:
                continue
            if isinstance(wanted, Group):
                state.set_run(run, wanted.as_listed, list(state.writers(run).values()))
                continue
            if not self._add(state, wanted, content):
                again.add(run)
            state.change()
            count += 1
            if count % KEEP_EVERY == 0:
                state.keep()
        return again

    def _jobs(self, state: MirrorState, groups: Iterable[Group]) -> Iterator[Job]:
        """The objects to fetch of each run, and after them the run itself, to be noted."""
        for group in groups:
            if not (self.root / layout.RUNS / group.run).is_dir():
                state.forget(group.run)
            writers, copied = state.writers(group.run), state.copied(group.run)
            for listed in sorted(group.listed, key=lambda listed: (listed.segment.writer, listed.segment.first)):
                segment, object = listed.segment, listed.object
                writer = writers.get(segment.writer)
                if segment.last and writer and writer.holds(segment.first, segment.last):
                    continue
                if not segment.last and copied.get(object.path) == object.tag:
                    continue
                yield listed, object.size, partial(self._read, object.path)
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

    def _find_tombstones(self) -> tuple[bytes, list[str]]:
        """The removed runs: a list that was copied from a folder, as it is, and the paths of tombstones."""
        return self._read(tombstones.FILENAME) or b"", [object.path for object in self.objects.listed(layout.REMOVED)]

    def _take_tombstones(self, copied: bytes, paths: list[str]) -> bool:
        """Write the mirror's list of removed runs. Returns whether it has changed. Each tombstone is fetched once:
        they never change."""
        path = self.root / tombstones.FILENAME
        before = plain_files.content(path) if path.exists() else b""
        by_path = {
            layout.tombstone_path(tombstone.id, tombstone.at): line
            for line in before.splitlines()
            if (tombstone := _tombstone(line))
        }
        new = [each for each in paths if each not in by_path and layout.tombstone(each)]
        jobs = ((each, 0, partial(self._read, each)) for each in new)
        by_path |= {each: line.strip() for each, line in ahead(self._pool, jobs) if line and _tombstone(line)}
        lines = sorted((by_path[each] for each in paths if each in by_path), key=lambda line: tombstones.read(line).at)
        content = copied.rstrip(b"\n") + b"\n" * bool(copied and lines) + b"\n".join(lines) + b"\n"
        if content == (before or b"\n"):
            return False
        whole_files.write(path, content)
        return True


def _tombstone(line: bytes) -> tombstones.Removed | None:
    try:
        return tombstones.read(line)
    except ValueError:
        return None
