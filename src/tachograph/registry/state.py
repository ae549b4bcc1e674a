"""What a model is, as it follows from the decisions about it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field

from tachograph import wording
from tachograph.errors import Damaged, NotFound
from tachograph.printable import quoted
from tachograph.registry import names, numbers
from tachograph.registry.decisions import (
    Acknowledged,
    Aliased,
    Approval,
    Checked,
    Decision,
    Deleted,
    Deployed,
    Known,
    Noted,
    Protected,
    Registered,
    Rejection,
    Rule,
    Ruled,
    Staged,
    Tagged,
    UnknownDecision,
    Unruled,
)


@dataclass
class Version:
    """A version of a model. ``stages`` are the stages that it was brought to, the last one is where it is.

    ``opinions`` has the last approval or rejection of each person, ``checks`` the last one of each name.
    """

    registered: Registered
    tags: dict[str, str]
    stages: list[Staged] = field(default_factory=list)
    stage: str = names.FIRST
    opinions: dict[str, Approval | Rejection] = field(default_factory=dict)
    checks: dict[str, Checked] = field(default_factory=dict)
    notes: list[Noted] = field(default_factory=list)
    deployments: list[Deployed] = field(default_factory=list)
    deleted: Deleted | None = None

    @property
    def number(self) -> str:
        """Its number, like "1.2.0"."""
        return self.registered.version

    @property
    def approvals(self) -> list[str]:
        """The people who approve of it."""
        return [person for person, opinion in self.opinions.items() if isinstance(opinion, Approval)]

    @property
    def approval(self) -> str:
        """ "rejected" where anybody rejects it, "approved" where somebody approves, else "pending"."""
        if len(self.approvals) < len(self.opinions):
            return "rejected"
        return "approved" if self.opinions else "pending"


@dataclass
class Running:
    """A version that runs in an environment, since when, and the one that ran there before."""

    deployed: Deployed
    before: Deployed | None = None


@dataclass
class Model:
    """A model: its versions in the order of their registration, aliases, rules by the number of their decision, what
    is ``running`` in each environment, and all decisions.

    ``damage`` says what is wrong with decisions, by number; those that are ``lost`` can't be read, are gone, or were
    changed, so that nobody can tell what they were, unless somebody has acknowledged that. ``last`` is the number of
    the last decision, ``digest`` that of its content. ``taken`` are the numbers that are not given again.
    """

    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    rules: dict[int, tuple[str, Rule]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    notes: list[Noted] = field(default_factory=list)
    running: dict[str, Running] = field(default_factory=dict)
    decisions: list[Known | UnknownDecision] = field(default_factory=list)
    damage: dict[int, str] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    last: int = 0
    digest: str = ""
    taken: set[str] = field(default_factory=set)

    def apply(self, decision: Known | UnknownDecision) -> None:
        """Take in the next decision. One that makes no sense is damage, and changes nothing."""
        self.decisions.append(decision)
        if isinstance(decision, Decision) and not decision.refused:
            try:
                self._carry_out(decision)
            except (LookupError, ValueError) as error:
                self.damage[decision.number] = str(error)
                self._take(getattr(decision, "version", None))

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Registered():
                self._register(decision)
            case Staged():
                self._bring(decision)
            case Approval() | Rejection():
                self.version(decision.version).opinions[decision.by] = decision
            case Aliased(version=None):
                self.aliases.pop(decision.alias, None)
            case Aliased():
                self.aliases[decision.alias] = self.version(str(decision.version)).number
            case Protected():
                (self.protected.add if decision.on else self.protected.discard)(decision.alias)
            case Tagged():
                tags = self.tags if decision.version is None else self.version(decision.version).tags
                tags.update({name: value for name, value in decision.tags.items() if value is not None})
                for name in [name for name, value in decision.tags.items() if value is None]:
                    tags.pop(name, None)
            case Noted():
                (self.notes if decision.version is None else self.version(decision.version).notes).append(decision)
            case Ruled():
                self.rules[decision.number] = decision.stage, decision.rule
            case Unruled():
                self.rules.pop(decision.rule, None)
            case Checked():
                self.version(decision.version).checks[decision.name] = decision
            case Deployed():
                self._deploy(decision)
            case Acknowledged():
                self.lost.difference_update(decision.lost)
            case Deleted():
                self._delete(decision)

    def _register(self, decision: Registered) -> None:
        digests = [decision.artifact.digest, *(member.digest for member in decision.artifact.members or ())]
        if not all(map(_DIGEST.fullmatch, digests)):
            raise ValueError(f"version {decision.version} has files without a proper digest")
        if self.has(decision.version):
            raise ValueError(f"version {decision.version} was there already")
        self.taken.add(numbers.rank(decision.version))
        self.versions[decision.version] = Version(decision, dict(decision.tags))

    def _take(self, version: str | None) -> None:
        """A version is spoken of whose registration is lost: its number is not given again."""
        with suppress(ValueError):
            self.taken.add(numbers.rank(str(version)))

    def has(self, number: str) -> bool:
        """Whether a version has this number, or had it before it was deleted. Raises ValueError for no number."""
        return numbers.rank(number) in self.taken

    def _bring(self, decision: Staged) -> None:
        version = self.version(decision.version)
        if decision.stage in names.SINGLE:
            for other in self.at_stage(decision.stage):
                other.stage = names.LAST
        version.stage = decision.stage
        version.stages.append(decision)

    def _deploy(self, decision: Deployed) -> None:
        self.version(decision.version).deployments.append(decision)
        now = self.running.get(decision.environment)
        if decision.status == "live":
            is_another = now is not None and now.deployed.version != decision.version
            before = now.deployed if now is not None and is_another else None if now is None else now.before
            self.running[decision.environment] = Running(decision, before)
        elif decision.status == "retired" and now is not None and now.deployed.version == decision.version:
            del self.running[decision.environment]

    def _delete(self, decision: Deleted) -> None:
        version = self.version(decision.version)
        version.deleted, version.stage = decision, names.LAST
        self.aliases = {alias: number for alias, number in self.aliases.items() if number != version.number}

    # -- what there is --

    def version(self, number: str) -> Version:
        """The version with this number. Raises ``NotFound`` where there is none, or it was deleted."""
        version = self.versions.get(number)
        if version is None:
            there = wording.listed(self.numbers)
            raise NotFound(f"model {self.name!r} has no version {quoted(number)}; it has {there}")
        if version.deleted is not None:
            who = f" by {version.deleted.by}" * bool(version.deleted.by)
            why = f": {version.deleted.reason}" if version.deleted.reason else ""
            raise NotFound(f"version {number} of model {self.name!r} was deleted{who}{why}")
        return version

    def find(self, key: str) -> Version:
        """A version by its number, an alias, a stage that has one version, or "latest". Raises ``NotFound``."""
        if key not in self.versions:
            self.check_whole()
        number = self.aliases.get(key) or (numbers.latest(self.numbers) if key == names.LATEST else None)
        if number is None and key in names.STAGES:
            there = self.at_stage(key)
            if len(there) != 1:
                how_many = f"{len(there)} versions" if there else "no version"
                raise NotFound(f"model {self.name!r} has {how_many} in {key}; it has {wording.listed(self.numbers)}")
            number = there[0].number
        if number is None and key.startswith("v") and key[1:] in self.versions:
            number = key[1:]
        return self.version(key if number is None else number)

    def lose(self, number: int, why: str) -> None:
        """A decision is lost."""
        self.damage[number] = why
        self.lost.add(number)

    def check_whole(self) -> None:
        """Raise ``Damaged`` where decisions are lost: what would follow from the others may be wrong."""
        if self.lost:
            first = min(self.lost)
            more = f" (and {len(self.lost) - 1} more)" if len(self.lost) > 1 else ""
            raise Damaged(
                f"decision {first}{more} about model {self.name!r} is lost, {self.damage[first]}: restore its file "
                f"from a copy of the store, or `tachograph model acknowledge {self.name}` to go on without it"
            )

    @property
    def numbers(self) -> list[str]:
        """The numbers of its versions, without the deleted ones."""
        return [number for number, version in self.versions.items() if version.deleted is None]

    def at_stage(self, stage: str) -> list[Version]:
        """The versions that are in a stage, as they came there."""
        there = [self.versions[number] for number in self.numbers if self.versions[number].stage == stage]
        return sorted(there, key=lambda version: version.stages[-1].number if version.stages else 0)

    def aliases_of(self, version: Version) -> list[str]:
        """The aliases that stand for a version."""
        return sorted(alias for alias, number in self.aliases.items() if number == version.number)

    def before(self, stage: str) -> Version:
        """The version that was in a stage before the one that is there: what was rolled back since does not count.

        Raises ``NotFound`` where there was none.
        """
        came: list[str] = []
        for decision in sorted((it for version in self.versions.values() for it in version.stages), key=_number):
            if decision.stage == stage and decision.rollback and decision.version in came:
                del came[len(came) - came[::-1].index(decision.version) :]
            elif decision.stage == stage:
                came.append(decision.version)
        now = came[-1] if came else None
        earlier = [number for number in came if number != now and self.versions[number].deleted is None]
        if not earlier:
            raise NotFound(f"no version of {self.name!r} was in {stage} before" + (f" {now}" if now else ""))
        return self.versions[earlier[-1]]


def _number(decision: Decision) -> int:
    return decision.number


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
