"""Whether a plug-in can work with the version of its framework that is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version


class Verdict(NamedTuple):
    """``state`` is "ready", "untested" (a newer version than any that was tested; it is recorded) or "skipped"."""

    state: str
    reason: str
    version: str


def judge(requires: Iterable[str], tested: str | None) -> Verdict | None:
    """Judge by the first distribution of ``requires`` that is installed; None where nothing says which version it is.

    ``requires`` are alternatives: one package may come from several distributions (``xgboost``, ``xgboost-cpu``).
    """
    for requirement in map(Requirement, requires):
        try:
            version = metadata.version(requirement.name)
            installed = Version(version)
        except (metadata.PackageNotFoundError, InvalidVersion):
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            return Verdict("skipped", f"version {version} is installed, {requirement} is needed", version)
        if tested and Version(installed.public) > Version(tested):  # without a +cpu or +cu130
            return Verdict("untested", f"version {version} is newer than {tested}, the newest that was tested", version)
        return Verdict("ready", "", version)
    return None


def alternatives(requires: str | Iterable[str]) -> tuple[str, ...]:
    """The requirements in a plug-in's ``REQUIRES``, which may be a single one."""
    return (requires,) if isinstance(requires, str) else tuple(requires)
