"""Labels: the names of metrics, params and tags. Each stands once in the tables, with a number that is used elsewhere.

They are found by their digests, since the entries of a database's index may not be of any length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from tachograph.index.dialect import Connection

NUMBER = "(SELECT no FROM label WHERE digest = ?)"  # in SQL, the number of the label with a digest


def digest(text: str) -> bytes:
    """What a label is found by."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def numbers(db: Connection, texts: Collection[str]) -> dict[str, int]:
    """The numbers of these labels, in a transaction of the caller's. New labels are added."""
    cached = db.labels
    uncached = [text for text in texts if text not in cached]
    if uncached:
        _look_up(db, uncached)
    if new := sorted((digest(text), text) for text in uncached if text not in cached):
        db.executemany("INSERT INTO label (digest, text) VALUES (?, ?) ON CONFLICT DO NOTHING", new)
        _look_up(db, [text for _, text in new])
    return {text: cached[text] for text in texts}


def _look_up(db: Connection, texts: list[str]) -> None:
    """Add the numbers of those labels that there are to ``db.labels``."""
    answers = db.each("SELECT no FROM label WHERE digest = ?", [(digest(text),) for text in texts])
    db.labels.update({text: rows[0][0] for text, rows in zip(texts, answers, strict=True) if rows})
