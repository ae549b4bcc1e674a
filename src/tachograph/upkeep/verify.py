"""Checking a store in a folder: every journal and every blob against its checksums."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tachograph import journal, wording
from tachograph.events import Artifact, Event, Release
from tachograph.journal import Damage
from tachograph.journal.blobs import Blobs, digest_of


@dataclass
class Findings:
    """What was checked in a store, and what is wrong with it."""

    root: Path
    runs: int = 0
    events: int = 0
    blobs: int = 0
    torn: int = 0
    damage: list[Damage] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)  # digests that runs refer to, and by which name

    def document(self) -> dict[str, object]:
        """As plain values."""
        damage = [
            {"path": str(one.path), "line": one.line or None, "offset": one.offset, "reason": one.reason}
            for one in self.damage
        ]
        counts = {"runs": self.runs, "events": self.events, "blobs": self.blobs, "torn": self.torn}
        return {"root": str(self.root), **counts, "damage": damage}


def check(root: Path) -> Findings:
    """Read all that is in a store."""
    found = _check_runs(root)
    blobs = Blobs(root)
    present = set(_check_blobs(blobs, found))
    missing = {digest: name for digest, name in found.artifacts.items() if digest not in present}
    if missing:  # a run may have let go of them since
        missing = {digest: missing[digest] for digest in _check_runs(root).artifacts if digest in missing}
    for digest, name in missing.items():
        found.damage.append(Damage(blobs.path(digest), 0, 0, f"missing, though kept for {name}"))
    return found


def _check_runs(root: Path) -> Findings:
    found = Findings(root)
    for run in _folders(root / "runs"):
        found.runs += 1
        for writer in _readable(journal.writers, run, found):
            _check_writer(writer, found)
    return found


def _check_writer(folder: Path, found: Findings) -> None:
    last, held = 0, dict[str, str]()
    for path in _readable(journal.segments, folder, found):
        for item in _read(path):
            if isinstance(item, Damage):
                found.torn += item.torn
                found.damage += [] if item.torn else [item]
                last += not item.torn  # there was an event on that line
                continue
            if item.seq > last + 1:
                gone = wording.count(item.seq - last - 1, "event")
                found.damage.append(Damage(path, 0, 0, f"{gone} before number {item.seq} missing"))
            last = max(last, item.seq)
            found.events += 1
            held.update(_kept(item, folder.parent.name))
            for digest in item.digests if isinstance(item, Release) else ():
                held.pop(digest, None)
        with contextlib.suppress(OSError):  # which reading it has told
            found.damage += journal.check_sums(path)
    found.artifacts.update(held)


def _readable(listed: Callable[[Path], Iterable[Path]], folder: Path, found: Findings) -> list[Path]:
    """What is in a folder, if that can be read."""
    try:
        return list(listed(folder))
    except OSError as error:
        found.damage.append(Damage(folder, 0, 0, f"can't be read: {error.strerror}"))
        return []


def _read(path: Path) -> Iterator[Event | Damage]:
    try:
        yield from journal.read(path)
    except OSError as error:
        yield Damage(path, 0, 0, f"can't be read: {error.strerror}")


def _kept(event: Event, run: str) -> Iterator[tuple[str, str]]:
    """The blobs that an event refers to."""
    if not isinstance(event, Artifact):
        return
    label = f"artifact {event.name!r} of run {run}"
    if event.members is None:
        yield event.digest, label
    for member in event.members or ():
        yield member.digest, f"{member.path} in {label}"


def _check_blobs(blobs: Blobs, found: Findings) -> Iterator[str]:
    """The digests of the files that are there."""
    for folder in _folders(blobs.folder):
        for path in sorted(_readable(Path.iterdir, folder, found)):
            if not path.is_file():  # to read from what is none may take for ever
                found.damage += [Damage(path, 0, 0, "is no file")] if path.exists() else []
                continue
            found.blobs += 1
            named = f"sha256:{path.name.partition('.')[0]}"  # what is put aside has more of a name
            yield named
            try:
                if digest_of(path) != named:
                    found.damage.append(Damage(path, 0, 0, "does not match its digest"))
            except FileNotFoundError:  # a run has let go of it meanwhile
                continue
            except OSError as error:
                found.damage.append(Damage(path, 0, 0, f"can't be read: {error.strerror}"))


def _folders(parent: Path) -> Iterable[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else ()
