"""Tokens: what a client shows to be let in.

    <root>/server/tokens.json    each token's name, role, hash, and when it was made and revoked

A server that keeps its runs in a database keeps its tokens there, too (see :mod:`tachograph.server.postgres.tokens`).

A token is 256 random bits. Its SHA-256 is what is kept: a slow hash protects what people think up and others may
guess, but here there is nothing to guess, and a slow hash would let anybody keep the server busy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from tachograph.errors import Error, NotFound
from tachograph.runtime import plain_files, whole_files
from tachograph.runtime.locks import locked

ROLES = ("read", "write", "admin")  # each may also do what those before it may
PREFIX = "tachograph_"  # so that scanners for secrets, and people, see what it is


class Token(Struct, frozen=True):
    """A token, but for its secret. Times are in seconds since 1970; ``revoked`` is None while it is good."""

    name: str
    role: str
    hash: str
    created: float
    revoked: float | None = None

    def may(self, role: str) -> bool:
        """Whether its holder may do what ``role`` may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Tokens(Protocol):
    """The tokens of a server. A change that another process makes counts at once."""

    is_near: bool  # whether reading them takes no time worth mentioning

    def all(self) -> list[Token]:
        """All tokens that were ever made, also revoked ones, the oldest first."""

    def create(self, name: str, role: str) -> str:
        """Make a token, and return its secret, which is kept nowhere. Raises ``Error`` where the name is taken."""

    def revoke(self, name: str) -> None:
        """Revoke a token. Raises ``NotFound`` where there is no good one of that name."""


def matching(tokens: Iterable[Token], secret: str) -> Token | None:
    """The good token with that secret, if any. How long the search takes reveals nothing about the others."""
    match, hash = None, _hash(secret)
    for token in tokens:
        if hmac.compare_digest(token.hash, hash) and token.revoked is None:
            match = token
    return match


def new_token(existing: Iterable[Token], name: str, role: str) -> tuple[str, Token]:
    """A new secret and its token. Raises ``Error`` where a good one of the existing tokens has that name."""
    if not name or not name.isprintable():
        raise Error("a token needs a name that can be printed")
    if any(token.name == name and token.revoked is None for token in existing):
        raise Error(f"there is a token {name!r}: revoke it first, or choose another name")
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, Token(name, role, _hash(secret), time.time())


def no_such_token(name: str) -> NotFound:
    """The exception for a name that no good token has."""
    return NotFound(f"there is no token {name!r} that could be revoked: `tachograph token list` has them all")


class FolderTokens:
    """The :class:`Tokens` of a server that keeps its runs in a folder."""

    is_near = True

    def __init__(self, root: Path) -> None:
        self._path = root / "server" / "tokens.json"
        self._stamp: tuple[int, int, int] | None = None  # of the file when it was read: inode, time, size
        self._tokens: list[Token] = []

    def all(self) -> list[Token]:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._stamp, self._tokens = None, []
            return []
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        if stamp != self._stamp:
            self._tokens = msgspec.json.decode(plain_files.content(self._path), type=list[Token])
            self._stamp = stamp
        return self._tokens

    def create(self, name: str, role: str) -> str:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._lock):
            existing = self.all()
            secret, token = new_token(existing, name, role)
            self._write([*existing, token])
        return secret

    def revoke(self, name: str) -> None:
        if not any(token.name == name and token.revoked is None for token in self.all()):
            raise no_such_token(name)
        with locked(self._lock):
            self._write([_revoked(token) if token.name == name else token for token in self.all()])

    @property
    def _lock(self) -> Path:
        return self._path.with_suffix(".lock")

    def _write(self, tokens: list[Token]) -> None:
        with whole_files.draft(self._path, durable=True) as draft:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(fd, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(tokens)) + b"\n")


def _revoked(token: Token) -> Token:
    return token if token.revoked else msgspec.structs.replace(token, revoked=time.time())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
