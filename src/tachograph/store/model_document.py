"""Models, versions and decisions as documents for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tachograph import wording
from tachograph.registry import decisions

if TYPE_CHECKING:
    from tachograph.store.model_record import ModelRecord
    from tachograph.store.version_record import VersionRecord


def of_version(version: VersionRecord) -> dict[str, Any]:
    """A version in a list of versions."""
    return {
        "name": version.name, "version": version.version, "stage": version.stage, "approval": version.approval,
        "aliases": version.aliases, "registered": version.registered, "by": version.by, "run": version.run_id,
        "description": version.description, "tags": version.tags, "params": version.params,
        "metrics": version.metrics,
    }  # fmt: skip


def of_whole_version(version: VersionRecord) -> dict[str, Any]:
    """A version by itself: all that is known of it."""
    artifact = version.artifact
    return {
        **of_version(version),
        "artifact": {
            "name": artifact.name, "kind": artifact.kind, "digest": artifact.digest, "size": artifact.size,
            "step": artifact.step, "filename": artifact.filename, "meta": artifact.meta,
        },
        "datasets": version.datasets,
        "checks": [of_decision(check) for check in version.checks],
        "deployments": [of_decision(deployed) for deployed in version.deployments],
        "notes": [of_decision(note) for note in version.notes],
        "history": [of_decision(decision) for decision in version.history],
    }  # fmt: skip


def of_model(model: ModelRecord) -> dict[str, Any]:
    """A model in a list of models."""
    return {
        "name": model.name,
        "versions": [version.version for version in model.versions],
        "stages": {version.version: version.stage for version in model.versions},
        "aliases": model.aliases,
        "protected": model.protected,
        "tags": model.tags,
    }


def of_whole_model(model: ModelRecord) -> dict[str, Any]:
    """A model by itself, with its versions."""
    return {
        **of_model(model),
        "versions": [of_version(version) for version in model.versions],
        "rules": of_rules(model),
        "running": of_running(model),
        "notes": [of_decision(note) for note in model.notes],
    }


def of_running(model: ModelRecord) -> list[dict[str, Any]]:
    """What runs where."""
    return [
        {
            "environment": environment, "version": it.deployed.version, "since": wording.time(it.deployed.at),
            "by": it.deployed.by, "url": it.deployed.url,
            "before": None if it.before is None else it.before.version,
        }
        for environment, it in model.running.items()
    ]  # fmt: skip


def of_rules(model: ModelRecord, stage: str | None = None) -> list[dict[str, Any]]:
    """What the stages of a model ask for, or what one of them does."""
    return [
        {"number": number, "stage": at, "rule": str(rule)}
        for number, (at, rule) in model.rules.items()
        if stage in (None, at)
    ]


def of_decision(decision: decisions.Known | decisions.UnknownDecision) -> dict[str, Any]:
    """A decision: what was decided first, then by whom, when and why."""
    return {**decisions.plain(decision), "at": wording.time(decision.at)}
