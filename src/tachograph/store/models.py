"""The models of a store: found, searched, registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tachograph import events
from tachograph.errors import Taken
from tachograph.registry import Model as ModelState
from tachograph.registry import Registry, names, numbers, rules, texts
from tachograph.registry import Version as VersionState
from tachograph.registry.decisions import Data, Registered
from tachograph.registry.folder import FolderRecords
from tachograph.runtime import process
from tachograph.store.artifacts import Artifact
from tachograph.store.model_record import ModelRecord
from tachograph.store.questions import asked_name, check_limit
from tachograph.store.version_record import VersionRecord
from tachograph.store.version_tables import VersionTables, why_not

if TYPE_CHECKING:
    from tachograph.store.run_record import RunRecord
    from tachograph.store.store import Store


class Models:
    """The models of a store, and what is decided about them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._registry = Registry(FolderRecords(store.root), process.user(), process.this().host)
        self._tables: tuple[Any, VersionTables] | None = None

    def all(self) -> list[ModelRecord]:
        """Every model, by name."""
        return [ModelRecord(self, model) for model in self._registry.models()]

    def states(self) -> dict[str, ModelState]:
        """Every model as it follows from what was decided, by name."""
        return {model.name: model for model in self._registry.models()}

    def model(self, name: str) -> ModelRecord:
        """The model of that name. Raises ``NotFound``."""
        return ModelRecord(self, self._registry.model(asked_name(name, "a model")))

    def find(self, key: str) -> VersionRecord:
        """The version that ``name@version`` means, or the latest one of ``name``. Raises ``NotFound``."""
        name, _, version = key.rpartition("@") if "@" in key else (key, "", names.LATEST)
        return self.model(name).version(version)

    def versions(
        self, where: str | None, order_by: str | None, limit: int | None, model: str | None = None
    ) -> list[VersionRecord]:
        """The versions of a model, or of all, for which a condition holds."""
        check_limit(limit, "versions")
        if model is not None:
            self._registry.model(model)  # which there has to be
        found = self._current_tables().find(where, order_by, limit, model)
        return [VersionRecord(ModelRecord(self, model), version) for model, version in found]

    def _current_tables(self) -> VersionTables:
        models = self._registry.models()
        known = [(model.name, model.digest) for model in models]
        if self._tables is None or self._tables[0] != known:
            self._tables = known, VersionTables(models)
        return self._tables[1]

    def decide(self, name: str, make: Any, even_if_lost: bool = False) -> Any:
        """Make a decision about a model; see :meth:`tachograph.registry.Registry.decide`."""
        return self._registry.decide(name, make, even_if_lost)

    def promotable(self, model: ModelState, version: VersionState, stage: str, condition: str | None) -> list[str]:
        """Why a version can't be brought to a stage here and now; nothing where it can."""
        model.check_whole()
        return rules.unmet(
            model, version, stage, self._registry.person, lambda text, it: why_not(text, model, it), condition
        )

    def register(
        self,
        run: RunRecord,
        name: str,
        artifact: str = "model",
        bump: str | None = None,
        version: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> VersionRecord:
        """Make an artifact of a run the next version of a model; see ``RunRecord.register_model``."""
        kept = run.artifact(artifact)
        kept.check_is_there()
        if bump is not None and version is not None:
            raise ValueError("a version is given by its number or by what to bump, not by both")
        chosen = None if version is None else str(numbers.parse(version))
        numbers.following([], bump or "minor")  # which has to be one that there is
        made = _snapshot(run, kept, texts.tags(tags), texts.text("description", description))

        def make(model: ModelState) -> Registered:
            made.version = chosen or numbers.following(model.taken, bump or "minor")
            if model.has(made.version):
                raise Taken(f"version {made.version} of model {name!r} is there already: versions never change")
            return made

        self.decide(name, make)
        return self.model(name).version(made.version)


def _snapshot(run: RunRecord, kept: Artifact, tags: dict[str, Any], description: str | None) -> Registered:
    return Registered(
        version="",
        run=run.id,
        run_name=run.name,
        experiment=run.experiment,
        artifact=events.Artifact(
            name=kept.name, type=kept.kind, digest=kept.digest, size=kept.size, filename=kept.filename, step=kept.step,
            members=kept.members, meta=kept.meta,
        ),
        params=run.params,
        metrics={name: events.written_number(value) for name, value in run.metrics.items()},
        datasets=[Data(each.name, each.role, each.digest) for each in run.datasets],
        tags={name: str(value) for name, value in tags.items() if value is not None},
        description=description,
    )  # fmt: skip
