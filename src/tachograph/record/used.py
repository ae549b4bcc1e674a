"""The verbs that say what a run uses, and what is made of it: data sets, versions of models."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tachograph import guard, values
from tachograph.errors import Error
from tachograph.record import registering
from tachograph.runtime.quiet import quietly

if TYPE_CHECKING:
    from tachograph.record.recorder import Recorder
    from tachograph.store.version_record import VersionRecord


class DataVerbs(guard.Accountable):
    """The verbs of a run that are about data sets and versions of models."""

    recorder: Recorder

    def log_dataset(
        self,
        data: Any,
        name: str = "data",
        role: str = "train",
        source: str | None = None,
        version: str | None = None,
        target: Any = None,
    ) -> None:
        """Record what data is: schema, shape, digest, missing values, statistics by column; not the data itself.

        ``target`` is the column to predict, where it is held apart; its class balance is recorded.
        """
        self.recorder.log_dataset(data, name, role, target, source, version)

    def use_dataset(self, data: Any, name: str | None = None) -> None:
        """Record that this run uses data, for its lineage, and what that data is (see :meth:`log_dataset`)."""
        from tachograph.store.happened import USED

        self.recorder.log_dataset(data, "data" if name is None else name, USED)

    @guard.shield
    @quietly()
    def use_model(self, version: VersionRecord | str) -> None:
        """Record that this run uses a version of a model, for its lineage: a version that was read from a store, or
        ``NAME@VERSION`` (a number, an alias, a stage or "latest") in the local one."""
        from tachograph.store.happened import USED

        found = self._find_version(version)
        if found is not None:
            self.recorder.link(USED, str(found), digest=found.artifact.digest)

    def _find_version(self, version: Any) -> VersionRecord | None:
        """The version that is meant; None where there is none, and the run says so."""
        from tachograph.store.store import open_store
        from tachograph.store.version_record import VersionRecord

        if isinstance(version, VersionRecord):
            return version
        if not isinstance(version, str) or "@" not in version:
            self.recorder.complain([f"use_model takes a version, or NAME@VERSION, not {values.like(version)}"])
            return None
        try:
            with closing(open_store(self.recorder.run.root)) as store:
                return store.registry.find(version)
        except (Error, OSError) as error:  # also where no file can be opened any more
            self.recorder.complain([f"it was not recorded which model was used: {error}"])
            return None

    @guard.shield
    @quietly()
    def register_model(
        self,
        name: str,
        artifact: str = "model",
        bump: str | None = None,
        version: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> VersionRecord | None:
        """Make an artifact of this run the next version of a model in the local store, and return that version.

        ``bump`` is what goes up from the highest version there is, "major", "minor" (as when it is left out), "patch"
        or "prerelease"; or ``version`` is the number itself. Nothing is raised: where no version was made, one warning
        and a note in the run say why, and None is returned.
        """
        return registering.register(self.recorder.run, name, artifact, bump, version, tags, description)
