"""Connections to PostgreSQL: a few for each server process, each lent for one transaction or question at a time.

When PostgreSQL was restarted, the connections that are left are dead. Work that meets a dead one is done again over a
new one, once. That does no harm: a question changes nothing, and a batch that is kept already is not kept twice. Where
there is no new connection either, :class:`~tachograph.server.storage.Unavailable` is raised.

Between us and PostgreSQL there may be a pooler, such as PgBouncer, which gives each transaction another session, which
other programs use, too. Behind one all is done in transactions, settings hold for one of them, and nothing is prepared.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import FloatDumper, NumericBinaryLoader
from psycopg.types.string import StrDumper

from tachograph.errors import Error
from tachograph.index.dialect import Cursor, Many, many, postgresql
from tachograph.server.storage import Unavailable

MOST = 16  # connections of a server process: PostgreSQL has a hundred for all
WAIT_SECONDS = 30.0  # for one of them
ATTEMPTS = 5  # at a transaction that conflicts with another one
OLDEST = 140000  # the first version whose exact numbers know infinity
# Either side notices within half a minute that the network is dead.
TIMES = {
    "connect_timeout": "5", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}  # fmt: skip
SETTINGS = """
SET search_path TO tachograph; SET TimeZone TO 'UTC'; SET synchronous_commit TO on; SET lock_timeout TO '20s';
SET idle_in_transaction_session_timeout TO '60s'
"""
SETTINGS_OF_A_TRANSACTION = SETTINGS.replace("SET ", "SET LOCAL ")
# Connection, state, resources, locks, shutdown, system: https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE = ("08", "25", "53", "55", "57", "58")
_CONFLICTS = (errors.DeadlockDetected, errors.SerializationFailure)

T = TypeVar("T")
_log = logging.getLogger(__name__)


class _Text(StrDumper):
    """PostgreSQL's texts can't have the character with the number 0: the symbol for it takes its place."""

    oid = 0

    def dump(self, obj: Any) -> Any:
        return obj.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace")


class _Number(FloatDumper):
    """A float that is sent without a type, so that all its digits count in columns of floating and of exact numbers."""

    oid = 0


class _Exact(NumericBinaryLoader):
    """An exact number, read as the int or float that was written."""

    def load(self, data: Any) -> Any:
        value = super().load(data)
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


class Connection:
    """A :class:`tachograph.index.dialect.Connection` to PostgreSQL."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.labels: dict[str, int] = {}

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Cursor:
        return self._connection.execute(postgresql(sql), values, binary=True)

    def script(self, sql: str) -> None:
        """Execute several statements in PostgreSQL's own dialect, without values."""
        self._connection.execute(sql)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        values = list(rows)
        if len(values) == 1:
            self.execute(sql, values[0])
        elif values and (at_once := many(sql)):
            self._connection.execute(at_once.sql, _arrays(values, at_once))
        elif values:
            self._connection.cursor().executemany(postgresql(sql), values)

    def each(self, sql: str, rows: Sequence[Sequence[Any]], /) -> list[list[Any]]:
        at_once = many(sql) if len(rows) > 1 else None
        if at_once is None:
            return [self.execute(sql, values).fetchall() for values in rows]
        answers: list[list[Any]] = [[] for _ in rows]
        for number, *row in self._connection.execute(at_once.sql, _arrays(rows, at_once), binary=True):
            answers[number - 1].append(tuple(row))
        return answers

    def hold(self, run: int, /) -> None:
        self.execute("SELECT no FROM run WHERE no = ? FOR UPDATE", (run,))


def _arrays(rows: Sequence[Sequence[Any]], at_once: Many) -> list[str]:
    """The columns of several rows as PostgreSQL's text for arrays. (psycopg takes five times as long to write them.)"""
    return [_array(column, kind) for column, kind in zip(zip(*rows, strict=True), at_once.types, strict=True)]


def _array(values: Sequence[Any], kind: str) -> str:
    write = _WRITERS.get(kind, repr)
    return f"{{{','.join('NULL' if value is None else write(value) for value in values)}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _hexadecimal(content: bytes) -> str:
    return rf'"\\x{content.hex()}"'


_WRITERS: dict[str, Callable[[Any], str]] = {"TEXT": _quoted, "BYTEA": _hexadecimal}


class Pool:
    """The connections of this process to the database at ``url``, made when first needed. Raises ``Error``."""

    def __init__(self, url: str) -> None:
        self._parts = _parts(url)
        self._secrets = _secrets(self._parts)
        self._settings = make_conninfo("", **{**TIMES, **self._parts})
        self.name = _name(self._parts)
        self._idle: list[psycopg.Connection[Any]] = []
        self._room = threading.BoundedSemaphore(MOST)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows that are the answer to a query."""
        return self._work(lambda connection: Connection(connection).execute(sql, values).fetchall())

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Call ``work`` in a transaction: all of it is done, or nothing; for good when this returns. ``work`` may be
        called more than once."""

        def transaction(connection: psycopg.Connection[Any]) -> T:
            with connection.transaction():
                return work(Connection(connection))

        for _ in range(ATTEMPTS - 1):
            try:
                return self._work(transaction)
            except _CONFLICTS:
                continue
        return self._work(transaction)

    def _work(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        try:
            with self._lent() as connection:
                return work(connection)
        except psycopg.Error as error:
            if not _is_unavailable(error):
                raise
            self.close()  # idle connections were lost with it
        try:
            with self._lent() as connection:
                return work(connection)
        except psycopg.Error as error:
            if not _is_unavailable(error):
                raise
            _log.warning("PostgreSQL: %s", self.reason(error))
            raise Unavailable("the server's database is not to be had at the moment: come again later") from None

    @contextmanager
    def _lent(self) -> Iterator[psycopg.Connection[Any]]:
        if not self._room.acquire(timeout=WAIT_SECONDS):
            raise psycopg.OperationalError("all connections are busy")
        try:
            connection = self._take()
            try:
                with _with_settings(connection):
                    yield connection
            finally:
                self._put_back(connection)
        finally:
            self._room.release()

    def _take(self) -> psycopg.Connection[Any]:
        try:
            return self._idle.pop()
        except IndexError:
            return self.connect()

    def _put_back(self, connection: psycopg.Connection[Any]) -> None:
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection. Raises what psycopg does."""
        connection = psycopg.connect(self._settings, autocommit=True, client_encoding="utf-8")
        connection.adapters.register_dumper(str, _Text)
        connection.adapters.register_dumper(float, _Number)
        connection.adapters.register_loader("numeric", _Exact)
        if _is_pooled(connection):
            connection.prepare_threshold = None
        else:
            connection.execute(SETTINGS)
        return connection

    def check(self) -> None:
        """Raise ``Error`` where the database can't be reached, is too old, or has another encoding than UTF-8."""
        try:
            with self._lent() as connection:
                version = connection.info.server_version
                encoding = connection.info.parameter_status("server_encoding")
        except psycopg.Error as error:
            raise Error(f"can't use {self.name}: {self.reason(error)}") from None
        if version < OLDEST:
            raise Error(f"{self.name} is PostgreSQL {version // 10000}: {OLDEST // 10000} or newer is needed")
        if encoding != "UTF8":
            raise Error(f"{self.name} holds text as {encoding}: create a database with the encoding UTF8")

    def reason(self, error: BaseException) -> str:
        """What PostgreSQL says, in one line, without anything secret."""
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(("\t", " "))]
        text = (lines[-1] if lines else type(error).__name__).rpartition("failed: ")[2].removeprefix("FATAL:").strip()
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().close()


def _is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether there is a pooler: then the process that answers is not the one that we connected to."""
    pid = connection.info.backend_pid
    return connection.execute("SELECT pg_backend_pid()").fetchone() != (pid,)


@contextmanager
def _with_settings(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """While our settings hold: behind a pooler within a transaction, else always."""
    if connection.prepare_threshold is not None:
        yield
        return
    with connection.transaction():
        connection.execute(SETTINGS_OF_A_TRANSACTION)
        yield


def _is_unavailable(error: psycopg.Error) -> bool:
    """Whether it may work over another connection, or later."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_UNAVAILABLE)


def _parts(url: str) -> dict[str, Any]:
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise Error("a database's URL is like postgresql://user:password@host:5432/name")
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:  # whose text may have the password
        raise Error("that is no URL of a database: in a password, @ / : # ? % are written %40 and so on") from None


def _secrets(parts: dict[str, Any]) -> list[str]:
    """The passwords in every form in which an error may show them, the longest first."""
    passwords = [str(parts[name]) for name in ("password", "sslpassword") if parts.get(name)]
    return sorted({form for text in passwords for form in (text, quote(text, safe=""), unquote(text))}, key=len)[::-1]


def _name(parts: dict[str, Any]) -> str:
    """The database's URL without anything secret."""
    host, port = parts.get("host") or parts.get("hostaddr") or "localhost", parts.get("port")
    return f"postgresql://{host}{f':{port}' if port else ''}/{parts.get('dbname') or ''}"
