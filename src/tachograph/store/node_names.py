"""The nodes of the lineage that people name: ``NAME@V``, ``dataset:DIGEST``, a run's name ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tachograph.errors import NotFound
from tachograph.lineage.graph import node_id, split
from tachograph.printable import quoted
from tachograph.store.happened import KeptFile, Surroundings, UsedData
from tachograph.store.origins import Origins
from tachograph.store.questions import asked_name
from tachograph.store.run_record import RunRecord
from tachograph.store.version_record import VersionRecord

if TYPE_CHECKING:
    from tachograph.store.store import Store

SHOWN = 5  # of those that a beginning of a key could mean


def find(store: Store, origins: Origins, node: object) -> str:
    """The id of the node that is meant. Raises ``NotFound`` where there is none, or several.

    A run and a version may be given themselves. A digest or a commit may be cut short; a run may be named as for
    ``Store.run``, a version as for ``ModelRecord.version``. What has no kind before it is a version where there is an
    ``@`` in it, and otherwise a run.
    """
    if isinstance(node, RunRecord):
        return node_id("run", node.id)
    if isinstance(node, VersionRecord):
        return node_id("version", str(node))
    asked = asked_name(node, "a node of the lineage", "its kind and key, like dataset:DIGEST, or NAME@VERSION")
    kind, key = split(asked)
    if not kind:
        kind = "version" if "@" in asked else "run"
    key = {
        "run": _run, "version": _version, "dataset": _data, "artifact": _artifact, "code": _code,
        "deployment": _deployment, "check": _check,
    }[kind](store, origins, key)  # fmt: skip
    return node_id(kind, key)


def _run(store: Store, origins: Origins, key: str) -> str:
    try:
        return store.run(key).id
    except NotFound:
        if any(version.registered.run == key for _, version in origins.versions()):  # removed since
            return key
        raise


def _version(store: Store, origins: Origins, key: str) -> str:
    if "@" in key and origins.version(key) is not None:
        return key  # a deleted one, too
    return str(store.registry.find(key))


def _data(store: Store, origins: Origins, key: str) -> str:
    run, slash, name = key.partition("/")
    if slash and any(one.what.name == name for one in origins.happened(UsedData, [run])):
        return key
    registered = {data.digest for _, version in origins.versions() for data in version.registered.datasets}
    return _only("dataset", key, registered, lambda: (one.what.digest for one in origins.mentions(UsedData, [key])))


def _artifact(store: Store, origins: Origins, key: str) -> str:
    registered = {version.registered.artifact.digest for _, version in origins.versions()}

    def kept() -> Iterable[str]:
        for one in origins.mentions(KeptFile, [key]):
            yield one.what.digest
            yield from (member.digest for member in one.what.members or [])

    return _only("artifact", key, registered, kept)


def _code(store: Store, origins: Origins, key: str) -> str:
    commit = key.partition("+")[0]

    def ran() -> Iterable[str]:
        codes = [one.what.code for one in origins.mentions(Surroundings, [commit])]
        known = [code for code in codes if code is not None]
        return known if "+" in key else [code.partition("+")[0] for code in known]

    return _only("code", key, (), ran)


def _deployment(store: Store, origins: Origins, key: str) -> str:
    name, _, environment = key.partition("/")
    model = origins.models.get(name)
    versions = model.versions.values() if model is not None else ()
    there = {deployed.environment for version in versions for deployed in version.deployments}
    if environment not in there:
        raise _nothing("deployment", key)
    return key


def _check(store: Store, origins: Origins, key: str) -> str:
    version, _, name = key.partition("/")
    found = origins.version(version)
    if found is None or name not in found[1].checks:
        raise _nothing("check", key)
    return key


def _only(kind: str, key: str, registered: Iterable[str], recorded: Callable[[], Iterable[str]]) -> str:
    """The one key that is this one, or begins with it; what stands before a digest need not be written."""
    wanted = key.removeprefix("sha256:")
    if not wanted:
        raise _nothing(kind, key)
    found = {
        each for each in (*registered, *recorded()) if each and each.removeprefix("sha256:").startswith(wanted)
    }  # fmt: skip
    exact = {each for each in found if each.removeprefix("sha256:") == wanted}
    candidates = sorted(exact or found)
    if len(candidates) > 1:
        shown = ", ".join(candidates[:SHOWN] + ["..."] * (len(candidates) > SHOWN))
        raise NotFound(f"{kind}:{key} is the beginning of {len(candidates)} ({shown}): write more of it")
    if not candidates:
        raise _nothing(kind, key)
    return candidates[0]


def _nothing(kind: str, key: str) -> NotFound:
    return NotFound(f"there is no {kind} {quoted(key)} in the lineage: nothing that is recorded here names it")
