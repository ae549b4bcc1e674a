"""Answers: JSON documents, and refusals, which have a reason in them."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

LATER = 5.0  # seconds after which to come again, where nothing else is known


class Refused(Exception):
    """A request is refused: with a status, a reason in one line, seconds after which to come again, and ``facts`` that
    the sender needs to know."""

    def __init__(self, status: int, reason: str, after: float | None = None, **facts: Any) -> None:
        super().__init__(reason)
        self.status, self.reason, self.after, self.facts = status, " ".join(reason.split()), after, facts

    def answer(self) -> Response:
        """The response that says so."""
        headers = {}
        if self.after is not None:
            headers["Retry-After"] = str(math.ceil(self.after))
        if "offset" in self.facts:
            headers["Upload-Offset"] = str(self.facts["offset"])
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return document({"reason": self.reason, **self.facts}, self.status, headers)


def document(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON document of plain values, in which numbers are finite."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


async def refused(request: Request, error: Exception) -> Response:
    """The answer for a :class:`Refused`."""
    assert isinstance(error, Refused)
    return error.answer()
