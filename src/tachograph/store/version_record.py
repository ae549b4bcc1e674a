"""A version of a model as people see it, and what they decide about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tachograph import events
from tachograph.errors import NotFound
from tachograph.printable import printable
from tachograph.redaction import redact_url
from tachograph.registry import Model as ModelState
from tachograph.registry import Version as VersionState
from tachograph.registry import names, texts
from tachograph.registry.decisions import (
    Aliased,
    Approval,
    Checked,
    Data,
    Decision,
    Deleted,
    Deployed,
    Known,
    Noted,
    Rejection,
    Tagged,
    UnknownDecision,
)
from tachograph.store import query
from tachograph.store.artifacts import Artifact
from tachograph.store.run_record import moment

if TYPE_CHECKING:
    from tachograph.store.model_record import ModelRecord
    from tachograph.store.run_record import RunRecord


class VersionRecord:
    """A version of a model: an artifact of a run, which never changes, and what was decided about it."""

    def __init__(self, model: ModelRecord, state: VersionState) -> None:
        self._model, self._state = model, state
        self._models = model._models
        self._made = state.registered
        self.name, self.version = model.name, state.number

    def __repr__(self) -> str:
        return printable(f"<tachograph version {self}, {self.stage}, {self.approval}>")

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VersionRecord) and (self.name, self.version) == (other.name, other.version)

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    # -- what it is --

    @property
    def registered(self) -> datetime:
        """When it was registered (UTC)."""
        return moment(self._made.at)

    @property
    def by(self) -> str:
        """Who registered it."""
        return self._made.by

    @property
    def description(self) -> str | None:
        """What was said of it when it was registered."""
        return self._made.description

    @property
    def artifact(self) -> Artifact:
        """Its files: ``.path()`` gives a verified copy, ``.load()`` the object."""
        return Artifact(self._models.store.questions.files, self._made.artifact)

    @property
    def run_id(self) -> str:
        """The id of the run that made it."""
        return self._made.run

    @property
    def run(self) -> RunRecord | None:
        """The run that made it; None where that was removed."""
        try:
            return self._models.store.run(self._made.run)
        except NotFound:
            return None

    @property
    def metrics(self) -> dict[str, float]:
        """The last values of the run's metrics, when it was registered."""
        return {name: events.number(value) for name, value in self._made.metrics.items()}

    @property
    def params(self) -> dict[str, Any]:
        """The run's parameters, when it was registered."""
        return dict(self._made.params)

    @property
    def datasets(self) -> list[Data]:
        """The data that the run had used (``.name .role .digest``)."""
        return list(self._made.datasets)

    # -- what was decided --

    @property
    def stage(self) -> str:
        """Where it is: development, staging, production or archived."""
        return self._state.stage

    @property
    def approval(self) -> str:
        """ "pending", "approved", or "rejected" where anybody rejects it."""
        return self._state.approval

    @property
    def aliases(self) -> list[str]:
        """The aliases that stand for it."""
        return self._model._state.aliases_of(self._state)

    @property
    def tags(self) -> dict[str, str]:
        """Its labels."""
        return dict(self._state.tags)

    @property
    def notes(self) -> list[Noted]:
        """Remarks on it (``.at .by .text``)."""
        return list(self._state.notes)

    @property
    def checks(self) -> list[Checked]:
        """What it was checked for, the last result of each (``.name .passed .detail``)."""
        return list(self._state.checks.values())

    @property
    def deployments(self) -> list[Deployed]:
        """Where it was brought to run, in order (``.environment .status .url .at .by``)."""
        return list(self._state.deployments)

    @property
    def history(self) -> list[Known | UnknownDecision]:
        """All decisions about it, refused ones too, in their order."""
        return [each for each in self._model.history if getattr(each, "version", None) == self.version]

    # -- deciding --

    def approve(self, reason: str | None = None) -> None:
        """Say that it is good."""
        self._decide(lambda model: Approval(version=self.version, reason=texts.text("reason", reason)))

    def reject(self, reason: str | None = None) -> None:
        """Say that it is not good."""
        self._decide(lambda model: Rejection(version=self.version, reason=texts.text("reason", reason)))

    def promote(self, stage: str, if_: str | None = None, reason: str | None = None) -> None:
        """Bring it to a stage. Raises ``NotAllowed``, with what is wanting, where the stage's rules or the condition
        ``if_`` are not kept: that is on record, too."""
        stage = names.stage(stage)
        if if_ is not None:
            query.check_condition(if_, "if")
        self._decide(lambda model: self._model._staged(model, model.version(self.version), stage, if_, reason))

    def unmet(self, stage: str, if_: str | None = None) -> list[str]:
        """Why it can't be brought to a stage here and now, each reason in a line; nothing where it can."""
        if if_ is not None:
            query.check_condition(if_, "if")
        return self._models.promotable(self._model._state, self._state, names.stage(stage), if_)

    def alias(self, alias: str) -> None:
        """Let an alias stand for it. Raises ``NotAllowed`` where that is protected and the rules of production are not
        kept."""
        alias = names.alias(alias)

        def make(model: ModelState) -> Aliased:
            version = model.version(self.version)
            unmet = self._models.promotable(model, version, names.PROTECTING, None) if alias in model.protected else []
            refused = [f"the alias {alias!r} is protected: {why}" for why in unmet]
            return Aliased(alias=alias, version=self.version, refused=refused)

        self._decide(make)

    def tag(self, tags: Mapping[str, str | None]) -> None:
        """Label it; None takes a label away."""
        given = texts.tags(tags)
        self._decide(lambda model: Tagged(version=self.version, tags=given))

    def note(self, text: str) -> None:
        """Add a remark on it."""
        checked = texts.needed("a note", text)
        self._decide(lambda model: Noted(version=self.version, text=checked))

    def checked(self, name: str, passed: bool, detail: str | None = None) -> None:
        """Put the result of a check on record."""
        checked = Checked(
            version=self.version, name=texts.needed("a check's name", name), passed=bool(passed),
            detail=texts.text("detail", detail),
        )  # fmt: skip
        self._decide(lambda model: checked)

    def deployed(
        self, environment: str, url: str | None = None, status: str = "live", reason: str | None = None
    ) -> None:
        """Put on record that it runs in an environment ("live"), was tried there in vain ("failed"), or no longer runs
        there ("retired"). Raises ``NotAllowed`` where the environment has rules, and it is to be live, but does not
        keep them."""
        environment = names.environment(environment)
        if status not in names.STATUSES:
            raise ValueError(f"status is one of {', '.join(names.STATUSES)}, not {status!r}")
        address = None if url is None else redact_url(texts.needed("a url", url))

        def make(model: ModelState) -> Deployed:
            asking = names.asking_environment(environment)
            unmet = (
                self._models.promotable(model, model.version(self.version), asking, None) if status == "live" else []
            )
            return Deployed(
                version=self.version, environment=environment, url=address, status=status,
                refused=unmet, reason=texts.text("reason", reason),
            )  # fmt: skip

        self._decide(make)

    def delete(self, reason: str | None = None) -> None:
        """Delete it. Its number is never given again; other versions keep their files.

        Raises ``NotAllowed`` for one that is in production or runs somewhere, or for which a protected alias stands.
        """

        def make(model: ModelState) -> Deleted:
            version = model.version(self.version)
            held = [f"it runs in {name}" for name, it in model.running.items() if it.deployed.version == self.version]
            held += [f"it is in {names.PROTECTING}"] if version.stage == names.PROTECTING else []
            held += [
                f"the protected alias {alias!r} stands for it" for alias in self.aliases if alias in model.protected
            ]
            return Deleted(version=self.version, refused=held, reason=texts.text("reason", reason))

        self._models.decide(self.name, make)

    def _decide(self, make: Any) -> None:
        def of_this(model: ModelState) -> Decision:
            model.version(self.version)  # which may have been deleted since
            decision: Decision = make(model)
            return decision

        self._models.decide(self.name, of_this)
