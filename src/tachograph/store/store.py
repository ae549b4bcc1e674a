"""A store: where runs are looked for, in a folder, in a bucket or on a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tachograph import addresses, settings
from tachograph.errors import NotFound, QueryError
from tachograph.journal import Damage
from tachograph.printable import decoded, printable
from tachograph.redaction import redact_url
from tachograph.store.local import FolderQuestions
from tachograph.store.questions import ALL, PIECE, Matches, Page, Query, Questions, Row, asked_name, check_limit
from tachograph.store.run_record import ReadTogether, RunRecord
from tachograph.store.runs import Runs

if TYPE_CHECKING:
    from tachograph.lineage import Lineage
    from tachograph.lineage.graph import Direction
    from tachograph.store.model_record import ModelRecord
    from tachograph.store.models import Models
    from tachograph.store.version_record import VersionRecord

SHOWN_CANDIDATES = 5


def open_store(url: str | os.PathLike[str] | None = None) -> Store:
    """The store in a folder or behind a URL (``https://host:8321`` for a server, ``s3://bucket/prefix``, ``gs://`` or
    ``az://`` for a bucket); without ``url`` the local one (see ``TACHOGRAPH_DIR``).

    A folder that isn't there is an empty store, and is not created. Nothing is asked through a network yet. Raises
    ``NotFound`` for an address that this version can't open, ``Error`` for one that can't be read.
    """
    return open_observed(url)


def open_observed(
    url: str | os.PathLike[str] | None,
    on_read: Callable[[int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Store:
    """The same store, for somebody who shows what a question waits for.

    ``on_read`` is called with the number of bytes after each piece of journals that was read here; ``on_wait`` while a
    server reads, with a text for people that says so.
    """
    return Store(_questions(settings.root() if url is None else url, on_read, on_wait))


def _questions(
    url: str | os.PathLike[str], on_read: Callable[[int], None] | None, on_wait: Callable[[str], None] | None
) -> Questions:
    if not isinstance(url, str | os.PathLike):
        raise NotFound(f"can't open a value of type {type(url).__name__}: {addresses.STORE}")
    if not isinstance(url, str) or "://" not in url:
        return FolderQuestions(Path(os.path.abspath(os.path.expanduser(url))), on_read)
    parts = addresses.split(url, addresses.STORE)
    if parts.scheme in ("http", "https"):
        from tachograph.store.http import HttpQuestions

        return HttpQuestions(url, on_wait)
    if parts.scheme in ("s3", "gs", "az"):
        from tachograph.bucket.mirror import Mirror
        from tachograph.store.bucket import MirrorQuestions

        return MirrorQuestions(Mirror(url), on_read)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return FolderQuestions(Path(unquote(parts.path).lstrip("/" if os.name == "nt" else "")), on_read)
    raise NotFound(f"can't open {redact_url(url)}: {addresses.STORE}")


class Store:
    """The runs of a folder, a bucket or a server. Each question first takes in what was recorded since the last one;
    that never disturbs who records."""

    def __init__(self, questions: Questions) -> None:
        self.questions = questions

    def __repr__(self) -> str:
        return printable(f"<tachograph store {self.name}>")

    @property
    def name(self) -> str:
        """What people call it: its folder, or its URL."""
        return self.questions.name

    @property
    def root(self) -> Path:
        """Its folder. Raises ``NotFound`` where the journals don't lie on this machine."""
        if self.questions.root is None:
            raise NotFound(f"{self.name} is no folder: this works where the journals lie")
        return self.questions.root

    def runs(
        self,
        experiment: str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        children: bool = False,
    ) -> Runs:
        """Top-level runs, or with ``children`` all of them; the newest first, unless ``order_by`` says otherwise.

        ``where`` and ``order_by`` are in the language that :mod:`tachograph.store.query` describes. Raises
        ``QueryError`` (a ValueError that points at the spot) for one that can't be read.
        """
        return Runs(self.scan(experiment, where, order_by, limit, children))

    def scan(
        self,
        experiment: str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        children: bool = False,
    ) -> Iterator[RunRecord]:
        """The same runs as :meth:`runs`, one by one, for more than should be in memory together."""
        check_limit(limit, "runs")
        for argument, text in {"experiment": experiment, "where": where, "order_by": order_by}.items():
            if text is not None and not isinstance(text, str):
                raise QueryError(f"{argument} is text, not {type(text).__name__}: see help(tachograph.store.query)")
        query = Query(experiment and decoded(experiment), where, order_by, children)
        return self._scan(query, ALL if limit is None else limit)

    def _scan(self, query: Query, limit: int = ALL) -> Iterator[RunRecord]:
        self.refresh()
        page = self.questions.runs(query, None, limit)  # at once: so that a query is wrong where it is asked
        return self._page_by_page(query, page, limit)

    def _page_by_page(self, query: Query, page: Page, limit: int) -> Iterator[RunRecord]:
        """The runs of a query, of which the first page was read."""
        while True:
            for start in range(0, len(page.rows), PIECE):
                yield from self.records(page.rows[start : start + PIECE])
            limit -= len(page.rows)
            if page.after is None or limit <= 0:
                return
            page = self.questions.runs(query, page.after, limit)

    def run(self, key: str | RunRecord) -> RunRecord:
        """A run by its id, a unique beginning of it, its name, or "latest", the top-level run that started last.

        A run that was read before is read anew. Raises ``NotFound`` where there is none, or several.
        """
        if isinstance(key, RunRecord):
            key = key.id
        key = asked_name(key, "a run", "its id, its name or 'latest'")
        if key == "latest":
            for run in self.scan(limit=1):
                return run
            raise NotFound(f"no run was recorded in {self.name} yet; TACHOGRAPH_DIR names another store")
        self.refresh()
        matches = self.questions.find(key)
        if matches.count != 1:
            raise NotFound(self._ambiguous(key, matches) if matches.count else self._unknown(key))
        return self.records(matches.rows)[0]

    def _unknown(self, key: str) -> str:
        hint = "`tachograph runs` or store.runs(children=True)"
        removed = self.questions.removed(key)
        return (
            f"{removed}: {hint} lists what there is" if removed else f"no run {key!r} in {self.name}: {hint} lists them"
        )

    def _ambiguous(self, key: str, matches: Matches) -> str:
        ids = [row.id for row in matches.rows[:SHOWN_CANDIDATES]] + ["..."] * (matches.count > SHOWN_CANDIDATES)
        return f"{key!r} is the {matches.how} of {matches.count} runs ({', '.join(ids)}): use more of the id"

    def records(self, rows: Sequence[Row]) -> list[RunRecord]:
        """The runs of some rows. Their params, tags and metrics are read for all of them at once, when first needed."""
        batch = ReadTogether(self.questions, [row.id for row in rows])
        return [RunRecord(self, row, batch) for row in rows]

    def children(self, id: str) -> Runs:
        """The runs that were opened in the one with this id, oldest first."""
        return Runs(self._scan(Query(parent=id, order_by="started, id", children=True)))

    def keepers(self, digest: str) -> Runs:
        """The runs that have recorded an artifact with this digest, the newest first. Looks at every artifact."""
        return Runs(self._scan(Query(keeps=asked_name(digest, "what keeps a file", "its digest"), children=True)))

    # -- models --

    @cached_property
    def registry(self) -> Models:
        """What is decided about models here. Raises ``NotFound`` for a store on a server or in a bucket."""
        from tachograph.store.models import Models

        if self.questions.root is None:
            raise NotFound(f"{self.name} is no folder: models are registered in stores in a folder")
        return Models(self)

    @property
    def models(self) -> list[ModelRecord]:
        """The models that were registered, by name."""
        return self.registry.all()

    def model(self, name: str) -> ModelRecord:
        """The model of that name. Raises ``NotFound``."""
        return self.registry.model(name)

    def version(self, key: str) -> VersionRecord:
        """The version that ``name@version`` means, by its number, an alias or a stage; the latest one of a ``name``
        alone. Raises ``NotFound``."""
        return self.registry.find(asked_name(key, "a version", "its name and number"))

    def versions(
        self, where: str | None = None, order_by: str | None = None, limit: int | None = None
    ) -> list[VersionRecord]:
        """Versions of all models, the newest first, unless ``order_by`` says otherwise.

        ``where`` and ``order_by`` are in the language that :mod:`tachograph.store.query` describes. Raises
        ``QueryError`` for one that can't be read.
        """
        return self.registry.versions(where, order_by, limit)

    # -- lineage --

    def lineage(
        self, node: str | RunRecord | VersionRecord, direction: Direction = "up", depth: int | None = None
    ) -> Lineage:
        """What something came of ("up"), what came of it ("down"), or both, as far as ``depth`` edges away.

        ``node`` is ``NAME@VERSION``, a run, or one of ``dataset:DIGEST``, ``code:COMMIT``, ``artifact:DIGEST``,
        ``run:RUN``, ``version:NAME@V``, ``deployment:NAME/ENVIRONMENT``, ``check:NAME@V/CHECK``. The answer has
        ``.nodes`` (``.id .kind .label``) and ``.edges`` (``.from_ .to .kind``). Raises ``NotFound``.
        """
        from tachograph.lineage.graph import walk
        from tachograph.store import node_names
        from tachograph.store.origins import Origins

        self.refresh()
        origins = Origins(self)
        return walk(node_names.find(self, origins, node), origins, direction, depth)

    def experiments(self) -> list[str]:
        """The names of the experiments, in order."""
        self.refresh()
        return [name for (name,) in self.questions.experiments()]

    @property
    def damage(self) -> list[Damage]:
        """The lines in the journals that can't be read: each costs itself alone. Files that we may not read, too."""
        lines = self._damage(torn=False)
        return lines + [Damage(Path(path), 0, 0, reason) for path, reason in self.questions.unreadable()]

    @property
    def torn(self) -> list[Damage]:
        """Last lines that were cut off when their writers died."""
        return self._damage(torn=True)

    def _damage(self, torn: bool) -> list[Damage]:
        self.refresh()
        runs = (self.questions.root or Path()) / "runs"
        return [
            Damage(runs / run / writer / f"{segment}.jsonl", line, offset, reason, torn)
            for run, writer, segment, line, offset, reason in self.questions.damage(torn)
        ]

    def refresh(self) -> None:
        """Take in what was recorded since. Every question does so first."""
        process_end = sys.modules.get("tachograph.record.process_end")
        if process_end is not None:  # this process records, too
            process_end.catch_up()
        self.questions.refresh()

    def close(self) -> None:
        """Give back files and connections; the next question opens them again."""
        self.questions.close()
