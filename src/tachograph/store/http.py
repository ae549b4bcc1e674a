"""The questions of a store on a tachograph server, which answers them; and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tachograph.client.connection import Server
from tachograph.client.downloads import Downloads
from tachograph.store import wire_format
from tachograph.store.questions import ALL, Matches, Page, Points, Query, RunState


class HttpQuestions:
    """Implements :class:`tachograph.store.questions.Questions`."""

    root = None

    def __init__(self, url: str, on_wait: Callable[[str], None] | None = None) -> None:
        self.server = Server(url, on_wait)
        self.name = self.server.name
        self.files = Downloads(self.server)

    def refresh(self) -> None:
        """Nothing: the server does so by itself."""

    def close(self) -> None:
        self.server.close()

    def _ask(self, question: str, *arguments: Any) -> Any:
        content = self.server.ask(f"/questions/{question}", wire_format.encode(arguments), wire_format.MEDIA_TYPE)
        try:
            return wire_format.form(question).answer.decode(content)
        except ValueError as error:
            raise self.server.foreign(f"or one of another version: {error}") from None

    def _all(
        self, question: str, *arguments: Any, after: Any, limit: int, key: int | Callable[[Any], Any] = 2
    ) -> list[Any]:
        """All rows of a long answer, asked for in parts.

        ``key`` says what of a part's last row to ask for the next part with: so many of its first columns, or what a
        function makes of it.
        """
        most, rows = wire_format.MOST[question] or 0, []
        while limit > 0:
            part = self._ask(question, *arguments, after, min(limit, most))
            rows += part
            if len(part) < most:
                break
            limit -= len(part)
            after = part[-1][:key] if isinstance(key, int) else key(part[-1])
        return rows

    # -- runs --

    def runs(self, query: Query, after: str | None = None, limit: int = ALL) -> Page:
        page: Page = self._ask("runs", query, after, min(limit, wire_format.MOST["runs"] or 0))
        return page

    def states(self, after: tuple[float, str] | None = None, limit: int = ALL) -> list[RunState]:
        return self._all("states", after=after, limit=limit, key=lambda state: (state.row.started, state.row.id))

    def find(self, key: str) -> Matches:
        matches: Matches = self._ask("find", key)
        return matches

    def removed(self, key: str) -> str | None:
        sentence: str | None = self._ask("removed", key)
        return sentence

    def experiments(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str]]:
        return self._all("experiments", after=after, limit=limit, key=1)

    def damage(
        self, torn: bool, after: tuple[str, str, int, int] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, int, int, int, str]]:
        return self._all("damage", torn, after=after, limit=limit, key=4)

    def unreadable(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, str]]:
        return self._all("unreadable", after=after, limit=limit, key=1)

    # -- of several runs --

    def params(
        self, ids: Sequence[str], after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, bytes]]:
        return self._all("params", ids, after=after, limit=limit)

    def tags(
        self, ids: Sequence[str], after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, str]]:
        return self._all("tags", ids, after=after, limit=limit)

    def metrics(
        self, ids: Sequence[str], system: bool, after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, float]]:
        return self._all("metrics", ids, system, after=after, limit=limit)

    def happened(
        self, ids: Sequence[str], kind: str, after: tuple[str, float, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[str, float, str, int, bytes]]:
        return self._all("happened", ids, kind, after=after, limit=limit, key=4)

    # -- of all runs --

    def mentions(
        self, kind: str, texts: Sequence[str], after: tuple[str, float, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[str, float, str, int, bytes]]:
        return self._all("mentions", kind, texts, after=after, limit=limit, key=4)

    # -- of one run --

    def events(
        self, id: str, kind: str, newest: bool = False, after: tuple[float, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[float, str, int, bytes]]:
        return self._all("events", id, kind, newest, after=after, limit=limit, key=3)

    def chunks(self, id: str, metric: str, after: tuple[str, int] | None = None, limit: int = ALL) -> list[Points]:
        return self._all("chunks", id, metric, after=after, limit=limit)

    def series(self, id: str, writer: str, after: tuple[str, int] | None = None, limit: int = ALL) -> list[Points]:
        return self._all("series", id, writer, after=after, limit=limit)

    def digests(
        self, id: str, metrics: Sequence[str], after: tuple[str, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[Any, ...]]:
        return self._all("digests", id, metrics, after=after, limit=limit, key=3)

    def next_steps(self, id: str, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, int]]:
        return self._all("next_steps", id, after=after, limit=limit, key=1)

    def end(self, id: str) -> bytes | None:
        end: bytes | None = self._ask("end", id)
        return end

    def writers(
        self, id: str, after: tuple[float, str] | None = None, limit: int = ALL
    ) -> list[tuple[float, str, bytes | None, bytes | None, bool]]:
        return self._all("writers", id, after=after, limit=limit)
