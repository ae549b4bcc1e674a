"""The names of metrics, params and tags: each stands once in the tables, and elsewhere as its number.

They are found by their digest, since they may be of any length, and an index's entries may not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from tachograph.index.dialect import Connection

NUMBER = "(SELECT no FROM label WHERE digest = ?)"  # that of the label whose digest it is


def digest(text: str) -> bytes:
    """What a label is found by."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def numbers(db: Connection, texts: Collection[str]) -> dict[str, int]:
    """The numbers of these labels, in a transaction of the caller's. Those that are new are put down."""
    known = db.labels
    new = [text for text in texts if text not in known]
    if new:
        _find(db, known, new)
    if missing := sorted((digest(text), text) for text in new if text not in known):
        db.executemany("INSERT INTO label (digest, text) VALUES (?, ?) ON CONFLICT DO NOTHING", missing)
        _find(db, known, [text for _, text in missing])
    return {text: known[text] for text in texts}


def _find(db: Connection, known: dict[str, int], texts: list[str]) -> None:
    found = db.each("SELECT no FROM label WHERE digest = ?", [(digest(text),) for text in texts])
    known.update({text: rows[0][0] for text, rows in zip(texts, found, strict=True) if rows})
