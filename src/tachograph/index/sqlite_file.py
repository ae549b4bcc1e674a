"""The index's file: where it lies, how it comes into being, and what happens when it is unusable.

It lies in the store, or, where the store can't be written or is on a network file system, in the user's cache folder.
It appears under its name only when it is whole, and since it can be built again from the journals, one that is damaged
or made by another version is thrown away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tachograph.errors import Error
from tachograph.index.dialect import sqlite_schema
from tachograph.index.schema import SCHEMA_VERSION
from tachograph.runtime import plain_files
from tachograph.runtime.cache_folder import cache_folder
from tachograph.runtime.sqlite_errors import code, is_damaged

BUSY_SECONDS = 60.0
FILENAME = "index.sqlite"
REMOTE = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "lustre", "beegfs", "gpfs", "ceph", "glusterfs", "pvfs2", "panfs",
    "wekafs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "fuse.beegfs",
}  # fmt: skip

ROOM = 4 << 20  # bytes that must be free in the store for the index to lie there


class Connection(sqlite3.Connection):
    """See :class:`tachograph.index.dialect.Connection`, which this is. A transaction that writes is alone here
    anyway."""

    labels: dict[str, int]  # they stay as they are for as long as the file is there

    def each(self, sql: str, rows: Sequence[Sequence[Any]], /) -> list[list[Any]]:
        return [self.execute(sql, values).fetchall() for values in rows]

    def hold(self, run: int, /) -> None:
        pass


# Connections that a forked child got from its parent: it must neither use nor close them.
_inherited: list[sqlite3.Connection] = []


class Database:
    """A connection to the index of one root. :meth:`connect` makes it, and makes it again when the file was replaced.

    In between, all goes to the same file, even if that is deleted meanwhile: row numbers mean nothing in another one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path: Path | None = None
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._process = 0

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def is_current(self) -> bool:
        """Whether there is a connection of this process's own, to the file that is there now."""
        if self._connection is None or self._process != os.getpid():
            return False
        return self._identity == _identity(self._path)

    def connect(self) -> None:
        """Connect to the file that is there now."""
        if self.is_current:
            return
        self.close()
        self._path = _index_path(self.root)
        self._connection = _open(self._path)
        self._identity = _identity(self._path)
        self._process = os.getpid()

    @property
    def connection(self) -> Connection:
        """The connection that :meth:`connect` made. Autocommit; begin transactions with :meth:`transaction`."""
        if self._connection is None:
            raise RuntimeError("not connected")
        return self._connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that may write; rolled back where an exception comes out of it."""
        try:
            with self.connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except BaseException:
            self.connection.labels.clear()
            raise

    def __del__(self) -> None:
        self.close()

    def close(self, getpid: Callable[[], int] = os.getpid, inherited: list[sqlite3.Connection] = _inherited) -> None:
        # What it needs of this module are arguments: when a program ends, the module may be gone before this is.
        connection, self._connection = self._connection, None
        if connection is not None and self._process == getpid():
            connection.close()
        elif connection is not None:
            inherited.append(connection)

    def discard(self) -> None:
        """Throw the file away, unless another process has done so already."""
        path, identity = self._path, self._identity
        self.close()
        if path is not None:
            with _alone(path):
                if _identity(path) == identity:
                    _remove(path)


def explained(error: sqlite3.DatabaseError, root: Path) -> Exception:
    """The exception to raise for ``error``: the same for a fault of ours, else one whose line says what to do."""
    if code(error) in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE, 0):
        return error
    return Error(f"the index of {root} can't be used ({error}): make room or try again; it can be deleted at any time")


def _index_path(root: Path) -> Path | None:
    """Where the index lies; None where no folder can be written."""
    inside = root / FILENAME
    writable = os.access(root, os.W_OK) and (not inside.exists() or os.access(inside, os.W_OK))
    if writable and _has_room(root) and not is_remote(root, _mounts()):
        return inside
    folder = cache_folder(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / f"{socket.gethostname()}.sqlite" if os.access(folder, os.W_OK) else None


def _has_room(root: Path) -> bool:
    return not root.exists() or shutil.disk_usage(root).free > ROOM


def is_remote(folder: Path, mounts: str) -> bool:
    """Whether other machines see ``folder`` too, by a table like ``/proc/mounts``.

    SQLite's write-ahead log must not be shared by machines, so there each one gets an index of its own.
    """
    kinds = {}
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        kinds[point.replace("\\040", " ")] = kind
    path = folder.resolve()
    nearest = next((kinds[str(parent)] for parent in (path, *path.parents) if str(parent) in kinds), "")
    return nearest in REMOTE


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # not Linux


def _open(path: Path | None) -> Connection:
    if path is None:
        return _prepared("")  # a private one, which SQLite deletes when it is closed
    with _alone(path):
        connection = _existing(path) if path.exists() else None
        if connection is None:
            _create(path)
            connection = _tuned(_connection(_uri(path)))
    return connection


def _existing(path: Path) -> Connection | None:
    """A connection to a file that is there; None where it is damaged, or of another version."""
    connection = _connection(_uri(path))
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            return _tuned(connection)
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise
    connection.close()
    return None


def _uri(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=rw"


def _create(path: Path) -> None:
    _remove(path)
    draft = path.with_name(f"{path.name}-draft")
    _remove(draft)
    _prepared(str(draft)).close()
    os.replace(draft, path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While the file is made, opened or thrown away, no other process does so.

    SQLite finds the log of a file by its name: a new file beside the log of an older one would be taken for that one.
    The lock goes with its process. Windows has no need of it: there an open file can't be deleted.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(plain_files.descriptor(path.with_name(f"{path.name}-lock"), os.O_WRONLY | os.O_CREAT), "wb") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepared(name: str) -> Connection:
    connection = _connection(name)
    connection.executescript(
        f"""PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;
            {sqlite_schema()}
            PRAGMA user_version = {SCHEMA_VERSION};"""
    )
    return connection


def _connection(name: str) -> Connection:
    connection = Connection(
        name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=name.startswith("file:")
    )
    connection.labels = {}
    return connection


def _tuned(connection: Connection) -> Connection:
    connection.execute("PRAGMA synchronous = NORMAL")  # after a power failure it may be old or unusable, never wrong
    return connection


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino
