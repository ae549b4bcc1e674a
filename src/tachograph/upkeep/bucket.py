"""Upkeep of a store in a bucket: its local mirror says what is there, and objects of the bucket are deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tachograph import journal
from tachograph.bucket import layout
from tachograph.bucket.blobs import BucketFiles, pieces
from tachograph.bucket.mirror import Mirror
from tachograph.events import encode
from tachograph.journal import tombstones
from tachograph.upkeep import Collected
from tachograph.upkeep.references import journal_lines, needed


class BucketUpkeep:
    """The :class:`tachograph.upkeep.Upkeep` of a store in a bucket."""

    def __init__(self, url: str) -> None:
        self._mirror = Mirror(url)
        self._objects = self._mirror.objects
        self.name = self._mirror.name

    def remove(self, runs: Sequence[tuple[str, str]], force: bool = False) -> None:
        self._mirror.refresh()
        for stone in tombstones.make(self._mirror.root, runs):
            self._objects.create(layout.tombstone_path(stone.id, stone.at), encode(stone) + b"\n")
        self._delete([id for id, _ in runs])
        self._mirror.refresh()

    def sweep(self) -> None:
        self._mirror.refresh()
        self._delete(tombstones.hidden(self._mirror.root))

    def collect(self, dry: bool, days: int) -> Collected:
        """Nothing is compressed: segments are compressed when they come into the bucket."""
        self._mirror.refresh(everything=True)
        removed = tombstones.hidden(self._mirror.root)
        if not dry:
            self._delete(removed)
        runs = [folder for folder in self._mirror.root.glob("runs/*") if folder.name not in removed]
        journals = (journal_lines(writer) for run in runs for writer in journal.writers(run))
        registry = (self._objects.read(each.path) for each in self._objects.listed("registry"))
        collected = BucketFiles(self._objects).collect(needed(journals, registry), dry)
        collected.runs = removed
        return collected

    def _delete(self, runs: Iterable[str]) -> None:
        """Delete the objects of these runs, but for segments of writers that the mirror doesn't have: those began under
        the same id after the run was removed."""
        for run in runs:
            writers = {folder.name for folder in journal.writers(self._mirror.root / layout.RUNS / run)}
            paths = (each.path for each in self._objects.listed(layout.run_folder(run)))
            removed = [path for path in paths if (part := layout.segment(path)) is None or part.writer in writers]
            for batch in pieces(removed):
                self._objects.delete(batch)
