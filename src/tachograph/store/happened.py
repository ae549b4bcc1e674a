"""What lineage needs of events, and no more: they are read by the thousand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

USED, REGISTERED = "used", "registered"  # relations of a run to a version; "used" is also a role of its data
DIFF_DIGITS = 12  # of the digest of a difference


class UsedData(Struct):
    """What is needed here of a data set's event."""

    name: str
    role: str
    digest: str = ""


class KeptFile(Struct):
    """The same of an artifact's, and of a folder's parts."""

    digest: str
    name: str = ""
    type: str = ""
    members: list[KeptFile] | None = None


class Relation(Struct):
    """The same of a link's."""

    relation: str
    target: str
    meta: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """The digest of the file to which it leads; "" where it leads to something else, or that isn't known."""
        digest = self.target if self.target.startswith("sha256:") else self.meta.get("digest")
        return digest if isinstance(digest, str) and self.relation not in (USED, REGISTERED) else ""


class _Facts(Struct):
    git: Any = None


class Surroundings(Struct):
    """The same of an environment's."""

    values: _Facts

    @property
    def code(self) -> str | None:
        """The key of the code: the commit, and what tells a changed tree from others; None where nothing is known."""
        git = self.values.git
        commit = git.get("commit") if isinstance(git, dict) else None
        if not isinstance(commit, str) or not commit:
            return None
        if git.get("dirty") is not True:
            return commit
        difference = hashlib.sha256(str(git.get("diff", "")).encode(errors="replace")).hexdigest()
        return f"{commit}+{difference[:DIFF_DIGITS]}"


NAMES: dict[type[Any], str] = {
    UsedData: "dataset", KeptFile: "artifact", Relation: "link", Surroundings: "environment",
}  # fmt: skip
_DECODE: dict[type[Any], Any] = {kind: msgspec.json.Decoder(kind).decode for kind in NAMES}


class Happened(NamedTuple):
    """Something that a writer of a run has recorded."""

    run: str
    writer: str
    what: Any


def last_code(environments: Iterable[Happened]) -> Iterator[tuple[str, str]]:
    """The code of each run, with its id: what each of its writers said of it last."""
    last: dict[tuple[str, str], str] = {}
    for run, writer, surroundings in environments:
        if surroundings.code is not None:
            last[run, writer] = surroundings.code
    return ((run, code) for (run, _), code in last.items())


def read(kind: type[Any], rows: Iterable[tuple[str, float, str, int, bytes]]) -> Iterator[Happened]:
    """Events, of the rows that hold them. What a later version has written in another shape is left out."""
    decode = _DECODE[kind]
    for run, _, writer, _, line in rows:
        try:
            yield Happened(run, writer, decode(line))
        except ValueError:
            continue


def as_in_json(text: str) -> str:
    """A text as it stands in the line of an event."""
    return msgspec.json.encode(text).decode()[1:-1]
