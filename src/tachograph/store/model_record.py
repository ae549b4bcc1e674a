"""A model as people see it, and what they decide about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tachograph.errors import NotFound
from tachograph.printable import printable, quoted
from tachograph.registry import Model as ModelState
from tachograph.registry import Version as VersionState
from tachograph.registry import names, texts
from tachograph.registry.decisions import (
    Acknowledged,
    Aliased,
    Known,
    Noted,
    Protected,
    Rule,
    Ruled,
    Staged,
    Tagged,
    UnknownDecision,
    Unruled,
)
from tachograph.registry.state import Running
from tachograph.store.query import check_condition
from tachograph.store.questions import asked_name
from tachograph.store.version_record import VersionRecord

if TYPE_CHECKING:
    from tachograph.store.models import Models

_MOST_PEOPLE = 1000  # whose approval a rule may ask for


class ModelRecord:
    """A model: its versions, as they were when this was read."""

    def __init__(self, models: Models, state: ModelState) -> None:
        self._models, self._state = models, state
        self.name = state.name

    def __repr__(self) -> str:
        return printable(f"<tachograph model {self.name}, {len(self._state.numbers)} versions>")

    @property
    def versions(self) -> list[VersionRecord]:
        """Its versions in the order of their registration, without those that were deleted."""
        return [VersionRecord(self, self._state.versions[number]) for number in self._state.numbers]

    def version(self, key: str) -> VersionRecord:
        """A version by its number, an alias, a stage or "latest". Raises ``NotFound``."""
        asked = asked_name(key, "a version", "its number, an alias or a stage")
        return VersionRecord(self, self._state.find(asked))

    @property
    def aliases(self) -> dict[str, str]:
        """The numbers of the versions for which aliases stand."""
        return dict(sorted(self._state.aliases.items()))

    @property
    def protected(self) -> list[str]:
        """The aliases that move only to versions that keep the rules of production."""
        return sorted(self._state.protected)

    @property
    def tags(self) -> dict[str, str]:
        """Labels of the model itself."""
        return dict(self._state.tags)

    @property
    def notes(self) -> list[Noted]:
        """Remarks on the model itself (``.at .by .text``)."""
        return list(self._state.notes)

    @property
    def rules(self) -> dict[int, tuple[str, Rule]]:
        """What stages ask of versions, by the number of the decision that made it."""
        return dict(self._state.rules)

    @property
    def running(self) -> dict[str, Running]:
        """What runs in which environment, since when, and what ran there before (``.deployed .before``)."""
        return dict(sorted(self._state.running.items()))

    @property
    def history(self) -> list[Known | UnknownDecision]:
        """All decisions about it, refused ones too, in their order."""
        return list(self._state.decisions)

    @property
    def damage(self) -> dict[int, str]:
        """What is wrong with its decisions, by number: such a one costs itself alone."""
        return dict(self._state.damage)

    @property
    def lost(self) -> list[int]:
        """The decisions that can't be read, are gone, or were changed, and that nobody has acknowledged. While there
        are some, nothing is decided, and no alias or stage says which version is meant."""
        return sorted(self._state.lost)

    def acknowledge(self, reason: str | None = None) -> list[int]:
        """Go on without the decisions that are lost; returns their numbers."""

        def make(model: ModelState) -> Acknowledged:
            if not model.lost:
                raise NotFound(f"no decision about model {self.name!r} is lost")
            return Acknowledged(lost=sorted(model.lost), reason=texts.text("reason", reason))

        made: Acknowledged = self._models.decide(self.name, make, True)
        return made.lost

    def tag(self, tags: Mapping[str, str | None]) -> None:
        """Label the model; None takes a label away."""
        given = texts.tags(tags)
        self._models.decide(self.name, lambda model: _of(model, Tagged(tags=given)))

    def note(self, text: str) -> None:
        """Add a remark on the model."""
        checked = texts.needed("a note", text)
        self._models.decide(self.name, lambda model: _of(model, Noted(text=checked)))

    def rule(
        self,
        stage: str | None = None,
        query: str | None = None,
        *,
        environment: str | None = None,
        approvals: int | None = None,
        no_failed_checks: bool = False,
        not_by_author: bool = False,
    ) -> int:
        """Let a stage, or an environment in which versions run, ask something of them from now on: one of these.

        Returns the rule's number.
        """
        if (stage is None) == (environment is None):
            raise ValueError("a rule is of a stage or of an environment")
        given = [query is not None, approvals is not None, no_failed_checks, not_by_author]
        if sum(given) != 1:
            raise ValueError("a rule is one of: a query, approvals, no_failed_checks, not_by_author")
        if approvals is not None and (
            isinstance(approvals, bool) or not isinstance(approvals, int) or not 1 <= approvals <= _MOST_PEOPLE
        ):
            raise ValueError(f"approvals is a number of people, 1 to {_MOST_PEOPLE}, not {quoted(approvals)}")
        if query is not None:
            check_condition(query, "rule")
        rule = Rule(query, approvals, no_failed_checks, not_by_author)
        asking = names.stage(stage) if environment is None else names.asking_environment(names.environment(environment))
        there = [number for number, made in self._models.model(self.name).rules.items() if made == (asking, rule)]
        if there:
            return there[0]  # asked already
        ruled = Ruled(stage=asking, rule=rule)
        self._models.decide(self.name, lambda model: _of(model, ruled))
        return ruled.number

    def remove_rule(self, number: int, reason: str | None = None) -> None:
        """Let a rule no longer hold. Raises ``NotFound`` where there is none of that number."""

        def make(model: ModelState) -> Unruled:
            if number not in model.rules:
                raise NotFound(f"model {self.name!r} has no rule {number}: `tachograph model rule NAME --list`")
            return Unruled(rule=number, reason=texts.text("reason", reason))

        self._models.decide(self.name, make)

    def remove_alias(self, alias: str) -> None:
        """Let an alias stand for nothing. Raises ``NotFound`` where there is none, ``NotAllowed`` for a protected
        one."""

        def make(model: ModelState) -> Aliased:
            if alias not in model.aliases:
                raise NotFound(f"model {self.name!r} has no alias {quoted(alias)}")
            refused = [f"the alias {alias!r} is protected"] if alias in model.protected else []
            return Aliased(alias=alias, refused=refused)

        self._models.decide(self.name, make)

    def protect(self, alias: str, on: bool = True) -> None:
        """Let an alias move only to versions that keep the rules of production; no longer, with ``on`` False."""
        protected = Protected(alias=names.alias(alias), on=bool(on))
        self._models.decide(self.name, lambda model: _of(model, protected))

    def rollback(self, stage: str, reason: str | None = None) -> VersionRecord:
        """Bring back the version that was in a stage before the one that is there; the next time the one before that.

        Raises ``NotFound`` where there was none, ``NotAllowed`` where the stage's rules are not kept.
        """
        stage = names.stage(stage)
        decision: Staged = self._models.decide(
            self.name, lambda model: self._staged(model, model.before(stage), stage, None, reason, True)
        )
        return self.version(decision.version)

    def _staged(
        self,
        model: ModelState,
        version: VersionState,
        stage: str,
        condition: str | None,
        reason: str | None,
        rollback: bool = False,
    ) -> Staged:
        reasons = self._models.promotable(model, version, stage, condition)
        return Staged(
            version=version.number,
            stage=stage,
            condition=condition,
            rollback=rollback,
            refused=reasons,
            reason=texts.text("reason", reason),
        )


def _of(model: ModelState, decision: Any) -> Any:
    """The decision, about a model that there is."""
    if not model.decisions:
        raise NotFound(f"there is no model {quoted(model.name)}")
    return decision
