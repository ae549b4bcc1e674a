"""Checking a store in a folder: what can be read, what checksums match, and which kept files are there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tachograph import journal, wording
from tachograph.events import Artifact, Event, Release
from tachograph.journal import Damage
from tachograph.journal.blobs import Blobs, digest_of
from tachograph.registry import Model
from tachograph.registry.folder import FolderRecords
from tachograph.registry.registry import catch_up
from tachograph.runtime import plain_files


@dataclass
class Findings:
    """What was checked in a store, and what is wrong with it."""

    root: Path
    runs: int = 0
    events: int = 0
    blobs: int = 0
    decisions: int = 0
    torn: int = 0
    damage: list[Damage] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)  # by the digest of a file that a run has kept, its name

    def document(self) -> dict[str, object]:
        """As plain values."""
        damage = [
            {"path": str(each.path), "line": each.line or None, "offset": each.offset, "reason": each.reason}
            for each in self.damage
        ]
        counts = {
            "runs": self.runs, "events": self.events, "blobs": self.blobs, "decisions": self.decisions,
            "torn": self.torn,
        }  # fmt: skip
        return {"root": str(self.root), **counts, "damage": damage}


def check(root: Path) -> Findings:
    """Read all journals and blobs of the store in ``root``, and compare them with their checksums."""
    findings = _check_runs(root)
    findings.damage += [Damage(path, 0, 0, "is no plain file") for path in _odd_files(root)]
    blobs = Blobs(root)
    present = set(_check_blobs(blobs, findings))
    missing = {digest: name for digest, name in findings.artifacts.items() if digest not in present}
    if missing:  # a run may have released them since its journal was read
        missing = {digest: missing[digest] for digest in _check_runs(root).artifacts if digest in missing}
    _check_models(root, findings, present)
    for digest, name in missing.items():
        findings.damage.append(Damage(blobs.path(digest), 0, 0, f"missing, though kept for {name}"))
    return findings


def _check_runs(root: Path) -> Findings:
    findings = Findings(root)
    for run in _folders(root / "runs"):
        findings.runs += 1
        for writer in _readable(journal.writers, run, findings):
            _check_writer(writer, findings)
    return findings


def _odd_files(root: Path) -> Iterator[Path]:
    """What is neither a plain file nor a folder, and never opened. The blobs themselves are looked at elsewhere."""
    for folder, folders, names in os.walk(root):
        if Path(folder) == Blobs(root).folder:
            folders.clear()
        yield from filter(plain_files.is_odd, (Path(folder, name) for name in sorted(names)))


def _check_models(root: Path, findings: Findings, present: set[str]) -> None:
    """Check the decisions about models, and that the files of their versions are there."""
    records = FolderRecords(root)
    for name in records.models():
        model = Model(name)
        findings.decisions += catch_up(model, records)
        for number, why in sorted(model.damage.items()):
            findings.damage.append(Damage(records.path(name, number), 0, 0, why))
        for version in model.numbers:
            made = model.versions[version].registered
            for digest, label in _kept_files(made.artifact, made.run):
                if digest not in present and digest not in findings.artifacts:  # else that is said already
                    what = f"missing, though kept for {name}@{version}, {label}"
                    findings.damage.append(Damage(Blobs(root).path(digest), 0, 0, what))


def _check_writer(folder: Path, findings: Findings) -> None:
    last, kept = 0, dict[str, str]()
    for path in _readable(journal.segments, folder, findings):
        for item in _read(path):
            if isinstance(item, Damage):
                findings.torn += item.torn
                findings.damage += [] if item.torn else [item]
                last += not item.torn  # there was an event on that line
                continue
            if item.seq > last + 1:
                gone = wording.count(item.seq - last - 1, "event")
                findings.damage.append(Damage(path, 0, 0, f"{gone} before number {item.seq} missing"))
            last = max(last, item.seq)
            findings.events += 1
            kept.update(_kept_files(item, folder.parent.name))
            for digest in item.digests if isinstance(item, Release) else ():
                kept.pop(digest, None)
        with contextlib.suppress(OSError):  # which was reported when it was read
            findings.damage += journal.check_sums(path)
    findings.artifacts.update(kept)


def _readable(list_folder: Callable[[Path], Iterable[Path]], folder: Path, findings: Findings) -> list[Path]:
    """What ``list_folder`` gives of a folder; nothing, and a finding, where that can't be read."""
    try:
        return list(list_folder(folder))
    except OSError as error:
        findings.damage.append(Damage(folder, 0, 0, f"can't be read: {error.strerror}"))
        return []


def _read(path: Path) -> Iterator[Event | Damage]:
    try:
        yield from journal.read(path)
    except OSError as error:
        yield Damage(path, 0, 0, f"can't be read: {error.strerror}")


def _kept_files(event: Event, run: str) -> Iterator[tuple[str, str]]:
    """The digests of the files that an event says were kept, and what to call each."""
    if not isinstance(event, Artifact):
        return
    label = f"artifact {event.name!r} of run {run}"
    if event.members is None:
        yield event.digest, label
    for member in event.members or ():
        yield member.digest, f"{member.path} in {label}"


def _check_blobs(blobs: Blobs, findings: Findings) -> Iterator[str]:
    """Check each blob; the digests of those that are there, be they as they should be or not."""
    for folder in _folders(blobs.folder):
        for path in sorted(_readable(Path.iterdir, folder, findings)):
            if not path.is_file():  # reading a pipe may take for ever
                findings.damage += [Damage(path, 0, 0, "is no file")] if path.exists() else []
                continue
            findings.blobs += 1
            digest = f"sha256:{path.name.partition('.')[0]}"  # while it is being deleted its name is longer
            yield digest
            try:
                if digest_of(path) != digest:
                    findings.damage.append(Damage(path, 0, 0, "does not match its digest"))
            except FileNotFoundError:  # it was deleted meanwhile
                continue
            except OSError as error:
                findings.damage.append(Damage(path, 0, 0, f"can't be read: {error.strerror}"))


def _folders(parent: Path) -> Iterable[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else ()
