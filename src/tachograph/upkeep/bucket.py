"""Upkeep of a store in a bucket. What there is to say of it comes from its mirror; what is deleted are its objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tachograph import journal
from tachograph.bucket import layout
from tachograph.bucket.blobs import Shelves, pieces
from tachograph.bucket.mirror import Mirror
from tachograph.events import encode
from tachograph.journal import tombstones
from tachograph.upkeep import Collected
from tachograph.upkeep.references import journal_lines, needed


class BucketUpkeep:
    """See :class:`tachograph.upkeep.Upkeep`, which this is."""

    def __init__(self, url: str) -> None:
        self._mirror = Mirror(url)
        self._objects = self._mirror.objects
        self.name = self._mirror.name

    def remove(self, runs: Sequence[tuple[str, str]], force: bool = False) -> None:
        self._mirror.refresh()
        for stone in tombstones.make(self._mirror.root, runs):
            self._objects.create(layout.stone_path(stone.id, stone.at), encode(stone) + b"\n")
        self._delete([id for id, _ in runs])
        self._mirror.refresh()

    def sweep(self) -> None:
        self._mirror.refresh()
        self._delete(tombstones.hidden(self._mirror.root))

    def collect(self, dry: bool, days: int) -> Collected:
        """Segments of a bucket are compressed as they are."""
        self._mirror.refresh(everything=True)
        removed = tombstones.hidden(self._mirror.root)
        if not dry:
            self._delete(removed)
        runs = [folder for folder in self._mirror.root.glob("runs/*") if folder.name not in removed]
        journals = (journal_lines(writer) for run in runs for writer in journal.writers(run))
        registry = (self._objects.read(each.path) for each in self._objects.listed("registry"))
        done = Shelves(self._objects).collect(needed(journals, registry), dry)
        done.runs = removed
        return done

    def _delete(self, runs: Iterable[str]) -> None:
        """Delete what is known of these runs. What others begin meanwhile under the same id is theirs."""
        for run in runs:
            known = {folder.name for folder in journal.writers(self._mirror.root / layout.RUNS / run)}
            listed = (one.path for one in self._objects.listed(layout.run_folder(run)))
            mine = [path for path in listed if (found := layout.segment(path)) is None or found.writer in known]
            for some in pieces(mine):
                self._objects.delete(some)
