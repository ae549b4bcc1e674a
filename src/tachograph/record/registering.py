"""Making what a run has kept a version of a model, while that run is open."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tachograph.errors import Error

if TYPE_CHECKING:
    from tachograph.record.run import Run
    from tachograph.store.version_record import VersionRecord

MODEL = "model"  # the artifact that is registered where none is named


def check_model_name(name: object) -> None:
    """Raise ValueError for a name that no model can have."""
    from tachograph.registry import names

    names.model(name)


def register(
    run: Run,
    name: str,
    artifact: str = MODEL,
    bump: str | None = None,
    version: str | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
) -> VersionRecord | None:
    """The version; None where it was not made, and the run says so. In a job of several processes, rank 0 does it."""
    from tachograph.store.happened import REGISTERED
    from tachograph.store.store import open_store

    if run.rank != 0:
        return None
    try:
        with closing(open_store(run.root)) as store:
            made = store.run(run.id).register_model(name, artifact, bump, version, tags, description)
    except (Error, ValueError, OSError) as error:  # also where no file can be opened any more
        run.recorder.complain([f"no version of a model was registered: {error}"])
        return None
    run.recorder.link(REGISTERED, str(made), digest=made.artifact.digest)
    return made


def at_end(run: Run, name: str) -> None:
    """Register the model of a training that has ended well, unless it is a version already; if it has kept one."""
    from tachograph.store.happened import REGISTERED
    from tachograph.store.store import open_store

    with closing(open_store(run.root)) as store:
        record = store.run(run.id)
        there = {artifact.name: artifact for artifact in record.artifacts}
        known: set[Any] = {link.meta.get("digest") for link in record.links if link.relation == REGISTERED}
    if MODEL in there and there[MODEL].digest not in known:
        register(run, name)
