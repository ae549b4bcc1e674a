"""What a stage asks of a version, and why one does not do for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tachograph.registry import names
from tachograph.registry.decisions import Rule
from tachograph.registry.state import Model, Version

# Whether a condition holds for a version: None where it does, else why not, in words.
Holds = Callable[[str, Version], str | None]


def unmet(model: Model, version: Version, asking: str, person: str, holds: Holds, condition: str | None) -> list[str]:
    """Why ``person`` can't bring a version to a stage or an environment, each reason in a line; none where all is well.

    ``condition`` is one that is asked for this time, beside the rules. What somebody rejects goes nowhere but to the
    first and the last stage.
    """
    shown = asking.removeprefix(names.asking_environment(""))
    rules = [rule for at, rule in model.rules.values() if at == asking]
    not_by_author = any(rule.not_by_author for rule in rules)
    found = []
    if version.approval == "rejected" and asking not in (names.FIRST, names.LAST):
        found.append(f"{', '.join(name for name in version.opinions if name not in version.approvals)} rejected it")
    found += [
        f"{shown} asks for {why}" for rule in rules for why in _unmet(rule, version, person, holds, not_by_author)
    ]
    if condition is not None and (why_not := holds(condition, version)) is not None:
        found.append(f"{condition} does not hold: {why_not}")
    return found


def _unmet(rule: Rule, version: Version, person: str, holds: Holds, not_by_author: bool) -> Iterator[str]:
    author = version.registered.by
    if rule.query is not None:
        why = holds(rule.query, version)
        if why is not None:
            yield f"{rule.query}: {why}"
    if rule.approvals is not None:
        people = [name for name in version.approvals if not (not_by_author and name == author)]
        if len(people) < rule.approvals:
            yield f"{rule}: there {_are(len(people))}{_of(people)}"
    if rule.no_failed_checks:
        failed = [name for name, check in version.checks.items() if not check.passed]
        if failed:
            yield f"{rule}: {', '.join(failed)} failed"
    if rule.not_by_author and person == author:
        yield f"{rule}: {author} did"


def _are(count: int) -> str:
    return "is none" if count == 0 else f"is {count}" if count == 1 else f"are {count}"


def _of(people: list[str]) -> str:
    return f", of {', '.join(people)}" if people else ""
