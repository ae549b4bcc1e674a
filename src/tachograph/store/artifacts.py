"""Artifacts read back: a verified copy under its own file name, or the object in it where that is safe to load."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tachograph import events, guard
from tachograph.errors import Damaged, Error, NotFound
from tachograph.journal.blobs import digest_of
from tachograph.printable import printable
from tachograph.runtime import whole_files
from tachograph.store import copying, loaders
from tachograph.store.questions import Files


class Artifact:
    """A file or folder that was kept with a run.

    ``kind`` is what it was logged as ("file", "model", "table" ...), ``size`` is in bytes, ``step`` the step it belongs
    to or None, ``filename`` its own name, ``members`` the files of a folder (``.path .digest .size``) or None, ``meta``
    what was recorded of it beside that, such as its format.
    """

    def __init__(self, files: Files, event: events.Artifact, released: Mapping[str, str] | None = None) -> None:
        self._files, self._released = files, released or {}  # digests of files that the run let go of, and why
        self.name, self.kind, self.digest, self.size = event.name, event.type, event.digest, event.size
        self.step, self.filename, self.members, self.meta = event.step, event.filename, event.members, event.meta

    def __repr__(self) -> str:
        return printable(f"<tachograph artifact {self.name} ({self.kind}, {self.size:,} bytes)>")

    @property
    def released(self) -> bool:
        """Whether its bytes were let go of and are gone, as those of most checkpoints are."""
        released = [digest for digest in self._digests() if digest in self._released]
        return bool(released and self._files.lacking(released))

    def _released_error(self) -> NotFound:
        step = "" if self.step is None else f" of step {self.step}"
        why = next(self._released[digest] for digest in self._digests() if digest in self._released)
        return NotFound(f"artifact {self.name}{step}: its bytes were let go of, because of {why}")

    def _digests(self) -> list[str]:
        return [self.digest] if self.members is None else [member.digest for member in self.members]

    def check_is_there(self) -> None:
        """Raise ``NotFound`` where its bytes were let go of, ``Damaged`` where they are missing."""
        if self.released:
            raise self._released_error()
        missing = self._files.lacking(self._digests())
        if missing:
            raise Damaged(f"artifact {self.name}: {missing[0]} is missing; restore it from a copy of the store")

    def path(self) -> Path:
        """A local copy under its own file name, checked against its digest; not to be written to.

        Raises ``Damaged`` where what is kept doesn't match, ``NotFound`` where it was let go of.
        """
        target = self._files.copies / self.digest.removeprefix("sha256:") / _inside(self.filename, self)
        files = self._files_at(target)
        if self.members is not None:
            target.mkdir(parents=True, exist_ok=True)
            for path in target.rglob("*"):
                if path not in files and not path.is_dir():
                    path.unlink()  # something else came in here: what is handed out is what was kept
        for path, digest in files.items():
            self._provide(digest, path)
        return target

    def copy_to(self, folder: str | os.PathLike[str], on_copied: Callable[[int], None] | None = None) -> Path:
        """Copy it into a folder, under its own file name, each byte checked against its digest; return where it is.

        What is there already, and is the same, is not copied again. ``on_copied`` is called with the number of bytes
        of each piece. Raises ``NotAllowed`` where something else is there, and changes nothing then; ``Damaged`` where
        what is kept doesn't match, ``NotFound`` where it was let go of.
        """
        target = Path(folder) / _inside(self.filename, self)
        files = self._files_at(target)
        missing = copying.lacking(target, files)
        for path in missing:
            copying.copy(self._blob(files[path]), path, files[path], on_copied or (lambda size: None))
        if self.members is not None:
            target.mkdir(parents=True, exist_ok=True)  # which may have no files
        copying.remove_drafts(files)
        return target

    def _files_at(self, target: Path) -> dict[Path, str]:
        """Its files below ``target``, and their digests. Raises ``Damaged`` for a list of files that was changed."""
        if self.members is None:
            return {target: self.digest}
        if self.digest != "sha256:" + hashlib.sha256(events.encode(self.members)).hexdigest():
            raise Damaged(f"artifact {self.name}: its list of files does not match its digest; log it again")
        return {target / _inside(member.path, self): member.digest for member in self.members}

    def _provide(self, digest: str, target: Path) -> None:
        """Put the blob ``digest`` at ``target``, unless it is there already, unchanged."""
        if target.is_file() and digest_of(target) == digest:
            return
        blob = self._blob(digest)
        if digest_of(blob) != digest:
            raise Damaged(
                f"artifact {self.name}: {blob} does not match its digest; restore it from a copy of the store"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_files.draft(target) as draft:
            _link_or_copy(blob, draft)

    def _blob(self, digest: str) -> Path:
        blob = self._files.blob(digest)
        if blob.is_file():
            return blob
        if digest in self._released:
            raise self._released_error()
        raise Damaged(f"artifact {self.name}: {blob} is missing; restore it from a copy of the store")

    def load(self, trusted: bool = False) -> Any:
        """What was kept, as an object: text as str, JSON as it is, tables and CSV as a list of dicts, a framework's
        model as that framework loads it.

        Formats that can run code when they are loaded (pickle, joblib) need ``trusted=True``: say so only of a file
        whose origin you know. Raises ``Error`` for those, for a format that nobody here can load, and for a file that
        is not what its format says: whatever its loader raises becomes one.
        """
        if self.released:
            raise self._released_error()
        suffix = PurePosixPath(self.filename).suffix.lower()
        format = str(self.meta.get("format") or loaders.SUFFIXES.get(suffix, suffix))
        with self._named(f"can't be loaded as {format or 'what it is'}"):
            loader = loaders.find(format)
        if loader is None:
            what = self.meta.get("format") or self.filename
            raise Error(f"artifact {self.name}: there is no loader for {what!r}; read the file at .path() yourself")
        load = loader.trusted if trusted else loader.safe
        if load is None:
            raise Error(f"artifact {self.name} can run code when loaded: if you trust its origin, load(trusted=True)")
        path = self.path()
        with self._named(f"can't be loaded as {format}"):
            return load(path, self.meta)

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Turns what a loader raises, by intent or by accident, into an error that names the artifact."""
        try:
            yield
        except Error as error:
            raise Error(f"artifact {self.name}: {error}") from error
        except guard.FAULTS as error:
            why = " ".join(guard.shown(error).split())
            raise Error(
                f"artifact {self.name} {what} ({type(error).__name__}: {why}): the file at .path() has what was kept"
            ) from error


def _inside(path: str, artifact: Artifact) -> Path:
    """``path``, which is relative and stays inside its folder. Raises ``Damaged`` for any other: that was forged."""
    parts = PurePosixPath(path).parts
    leads_out = not parts or path.startswith("/") or ".." in parts or "\0" in path
    if leads_out or (os.name == "nt" and any(character in path for character in "\\:")):
        raise Damaged(f"artifact {artifact.name}: {path!r} is no file name that can be trusted; log it again")
    return Path(*parts)


def _link_or_copy(blob: Path, target: Path) -> None:
    # Root can write to read-only files: through a link it would write to what is kept.
    if getattr(os, "geteuid", lambda: 1)() != 0:
        try:
            os.link(blob, target)
        except OSError:
            pass  # another device, or a file system without links
        else:
            return
    shutil.copyfile(blob, target)
    os.chmod(target, 0o444)
