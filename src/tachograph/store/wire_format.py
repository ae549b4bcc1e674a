"""Questions on their way through a network: MessagePack, which keeps bytes, NaN and infinities as they are.

The arguments and the answer of a question have the types that :class:`tachograph.store.questions.Questions` declares,
within bounds. Both sides check that.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

from tachograph.store.questions import PIECE, TEXTS, Questions

MEDIA_TYPE = "application/vnd.msgpack"
# The questions that can be asked, and of long answers the most rows that one request gets.
MOST: dict[str, int | None] = {
    "runs": 5000, "states": 1000, "find": None, "removed": None, "experiments": 1000, "damage": 1000,
    "unreadable": 1000, "params": 20_000, "tags": 20_000, "metrics": 20_000, "happened": 5000,
    "mentions": 5000, "events": 5000, "chunks": 128, "series": 128, "digests": 10_000, "next_steps": 10_000,
    "end": None, "writers": 1000,
}  # fmt: skip

encode = msgspec.msgpack.encode


class Form(NamedTuple):
    """How the arguments of a question, in their order, and its answer are read."""

    arguments: msgspec.msgpack.Decoder[tuple[Any, ...]]
    answer: msgspec.msgpack.Decoder[Any]


@cache
def form(question: str) -> Form:
    """The form of one of the questions in ``MOST``."""
    return Form(*map(msgspec.msgpack.Decoder, types(question)))


def types(question: str) -> tuple[Any, Any]:
    """The type of the arguments of a question, in their order, and that of its answer."""
    hints = get_type_hints(getattr(Questions, question), include_extras=True)
    answer = hints.pop("return")
    if "limit" in hints:
        hints["limit"] = Annotated[int, Meta(ge=0, le=MOST[question])]
    for name, most in {"ids": PIECE, "metrics": PIECE, "texts": TEXTS}.items():
        if name in hints:
            hints[name] = Annotated[list[str], Meta(max_length=most)]
    return tuple[tuple(hints.values())], answer  # type: ignore[misc]
