"""Checkpoints: the files that a training leaves on its way, kept as ``autolog(checkpoints=...)`` asks for.

On the training thread a checkpoint is copied, no more. A large one is digested in the background, about a second for
each gigabyte, and is on record when that is done; at the latest when the run ends. A process that is killed before
leaves its copy as a draft, which ``tachograph gc`` clears away.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tachograph import guard, values
from tachograph.events import Member, Release
from tachograph.journal.blobs import Stamp, digest_of_list, digesting
from tachograph.record.options import options
from tachograph.record.run import Run
from tachograph.runtime.background import background

KIND = "checkpoint"
BEST = "best"
_SMALL = 8 << 20  # bytes that are digested at once, in some milliseconds
_MOST_WAITING = 2  # copies that take up the disk while they wait to be digested


def keep(
    run: Run,
    path: str | os.PathLike[str],
    *,
    name: str = "checkpoint",
    step: int | None = None,
    is_best: bool | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Keep a checkpoint, a file or a folder, as it is at this moment, as an artifact of kind "checkpoint".

    ``name`` names the series that it belongs to: the same for each checkpoint of one model. ``is_best`` says whether it
    is the best so far, None where the framework doesn't say; the best one is also found as the artifact "best".
    With ``checkpoints="best"`` the bytes of all but the last one and the best one are deleted; their records stay.
    Never raises; what can't be read is noted in the run.
    """
    if options.checkpoints is False or not run.id:
        return
    with guard.contained("checkpoints", run), guard.timed(run):
        keeper = _keeper(run)
        try:
            drafts = keeper.copy(Path(path))
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            run.recorder.complain([f"checkpoint {path} was not kept: {getattr(error, 'strerror', None) or error}"])
            return
        keeper.add(Copied(name, Path(path), drafts, step, bool(is_best), recordable(meta or {}), options.checkpoints))


def recordable(meta: Mapping[str, Any]) -> dict[str, Any]:
    """``meta`` with everything that JSON can't give back as it is in the form of its text."""
    return {name: value if is_plain(value) else values.text(value) for name, value in meta.items()}


def is_plain(value: object) -> bool:
    """Whether JSON gives it back as it is."""
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


class Copied(NamedTuple):
    """A checkpoint that was copied into the store. ``drafts`` are its files by name; that of a single file is ""."""

    name: str
    path: Path
    drafts: dict[str, Path]
    step: int | None
    best: bool
    meta: dict[str, Any]
    policy: str | bool

    @property
    def size(self) -> int:
        return sum(draft.stat().st_size for draft in self.drafts.values())


class Keeper:
    """The checkpoints of one run in this process: digests and records them in their order, and deletes old ones."""

    def __init__(self, run: Run) -> None:
        self._run, self._blobs, self.pid = run, run.recorder.blobs, os.getpid()
        self._waiting: deque[Copied] = deque()
        self._current: Iterator[bool] | None = None
        self._lock, self._inside = threading.RLock(), False
        self._stamps: dict[str, Stamp] = {}  # of the blobs that were made here
        self._needed: dict[tuple[str, str], frozenset[str]] = {}
        self._kept_for_good: set[str] = set()

    def copy(self, path: Path) -> dict[str, Path]:
        """Drafts of the file, or of the files of the folder, at ``path``. Raises OSError; then there are none."""
        if not path.is_dir():
            return {"": self._blobs.copy(path)}
        drafts: dict[str, Path] = {}
        left_out: dict[str, str] = {}
        try:
            drafts.update(self._blobs.each_file(path, self._blobs.copy, left_out))
        except BaseException:
            _discard(drafts)
            raise
        self._run.recorder.say_left_out(f"checkpoint {path}", left_out)
        return drafts

    def add(self, copied: Copied) -> None:
        """Record a checkpoint: now, or in the background after those that wait already."""
        self._waiting.append(copied)
        if self.record_all not in self._run.recorder.closing:
            self._run.recorder.before_end(self.record_all)
        if copied.size <= _SMALL or len(self._waiting) > _MOST_WAITING:
            self.record_all()
        else:
            background.soon(self._record_in_turns)

    def record_all(self) -> None:
        """Record all that waits, now."""
        while self._next_part():
            pass

    def _record_in_turns(self) -> None:
        if self._next_part():
            background.soon(self._record_in_turns)  # in turns: what else there is to do has to be done meanwhile

    def _next_part(self) -> bool:
        """Digest a part of what waits, or record it; False if nothing waits."""
        # A signal handler on top of an append leaves it to whoever is at it, and may be waiting for that append.
        if not self._lock.acquire(blocking=not self._run._journal.is_ours()):
            return False
        try:
            if self._inside or not (self._current or self._waiting):
                return False  # inside: this is a signal handler, and the loop that it interrupted goes on
            self._inside = True
            try:
                self._current = self._current or self._record(self._waiting.popleft())
                if not next(self._current, False):
                    self._current = None
            finally:
                self._inside = False
            return True
        finally:
            self._lock.release()

    def _record(self, copied: Copied) -> Iterator[bool]:
        members = []
        try:
            for name, draft in copied.drafts.items():
                digest = yield from digesting(draft)
                members.append(Member(name, digest, draft.stat().st_size))
                self._publish(draft, digest)
        except OSError as error:
            self._run.recorder.complain([f"checkpoint {copied.path} was not kept: {error.strerror or error}"])
            return
        finally:
            _discard(copied.drafts)
        self._append(copied, members)
        self._delete(self._superseded(copied, members), f'checkpoints="{copied.policy}"')

    def _publish(self, draft: Path, digest: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if digest in self._stamps and Stamp.of(self._blobs.path(digest)) == self._stamps[digest]:
                return  # ours already; to touch it would say that somebody else relies on it
        stamp = self._blobs.publish(draft, digest)
        if stamp is not None:
            self._stamps[digest] = stamp

    def _append(self, copied: Copied, members: list[Member]) -> None:
        single = "" in copied.drafts
        digest = members[0].digest if single else digest_of_list(members)
        size = sum(member.size for member in members)
        filename = copied.path.name or copied.path.absolute().name or "folder"
        for name in [copied.name] + [BEST] * copied.best:
            self._run.recorder.kept(
                name, KIND, digest, size, filename, copied.step, None if single else members, copied.meta
            )

    def _superseded(self, copied: Copied, members: list[Member]) -> frozenset[str]:
        """Note which bytes are needed from now on; returns the digests of those that no longer are."""
        before = frozenset().union(*self._needed.values())
        digests = frozenset(member.digest for member in members)
        for role in ["last"] + [BEST] * copied.best:
            self._needed[copied.name, role] = digests
        if copied.policy != "best":
            self._kept_for_good |= digests
        return (before | digests).difference(self._kept_for_good, *self._needed.values())

    def _delete(self, digests: frozenset[str], reason: str) -> None:
        """Record the deletion first, then delete: a process that ends in between leaves blobs for ``tachograph gc``."""
        if digests:
            self._run._journal.append(Release(digests=sorted(digests), reason=reason))
        for digest in digests:
            stamp = self._stamps.pop(digest, None)
            if stamp is not None:
                with contextlib.suppress(OSError):
                    self._blobs.drop(self._blobs.path(digest), stamp)


def _keeper(run: Run) -> Keeper:
    keeper: Keeper | None = vars(run).get("_checkpoints")
    if keeper is None or keeper.pid != os.getpid():  # a forked child keeps its own
        keeper = vars(run)["_checkpoints"] = Keeper(run)
    return keeper


def _discard(drafts: Mapping[str, Path]) -> None:
    for draft in drafts.values():
        draft.unlink(missing_ok=True)
