"""What came of what in a store: read from the events of its runs, and from what was decided about models.

data set -> run             trained on, evaluated on, used: by the role of the data
code -> run                 ran: the commit; of a changed tree also the digest of the difference to it
code -> code                changed: a commit, and a changed tree of it
run -> run                  parent: the outer one, and those that were opened in it
run -> artifact             kept: models, checkpoints, files, but not what people look at
artifact -> artifact        holds: a folder, and a file of it that was used by itself
artifact -> run             resumed from, loaded from
artifact -> version         registered
version -> run              used
version -> deployment       live, replaced, failed, retired
version -> check            passed, failed
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tachograph import wording
from tachograph.lineage import Edge
from tachograph.lineage.graph import node_id, split
from tachograph.registry import Model, Version
from tachograph.store.happened import (
    DIFF_DIGITS,
    NAMES,
    REGISTERED,
    USED,
    Happened,
    KeptFile,
    Relation,
    Surroundings,
    UsedData,
    as_in_json,
    last_code,
    read,
)
from tachograph.store.questions import PIECE, TEXTS, Query, Row

if TYPE_CHECKING:
    from tachograph.store.store import Store

ROLES = {
    "train": "trained on",
    **dict.fromkeys(("validation", "val", "valid", "test", "eval", "evaluation"), "evaluated on"),
}
TO_LOOK_AT = ("table", "figure")  # artifacts from which nobody goes on


class Origins:
    """Implements :class:`tachograph.lineage.Sources`."""

    def __init__(self, store: Store) -> None:
        self._store, self._questions = store, store.questions
        self._rows: dict[str, Row | None] = {}
        self._names: dict[str, str] = {}

    def above(self, ids: Sequence[str]) -> Iterator[Edge]:
        return self._edges(ids, {
            "run": self._above_runs, "code": self._above_code, "artifact": self._above_artifacts,
            "version": self._above_versions, "deployment": self._above_deployments, "check": self._above_checks,
        })  # fmt: skip

    def below(self, ids: Sequence[str]) -> Iterator[Edge]:
        return self._edges(ids, {
            "dataset": self._below_data, "run": self._below_runs, "code": self._below_code,
            "artifact": self._below_artifacts, "version": self._below_versions,
        })  # fmt: skip

    def labels(self, ids: Sequence[str]) -> list[str]:
        by_kind = _by_kind(ids)
        self.rows(by_kind["run"])
        return [self._label(*split(id)) for id in ids]

    def _edges(self, ids: Sequence[str], answers: dict[str, Callable[[list[str]], Iterable[Edge]]]) -> Iterator[Edge]:
        for kind, keys in _by_kind(ids).items():
            if kind in answers:
                yield from answers[kind](keys)

    # -- what is asked of runs --

    def rows(self, runs: Iterable[str]) -> dict[str, Row | None]:
        """The runs with these ids, at a glance; None for one that isn't there."""
        wanted = list(runs)
        for some in _pieces([run for run in wanted if run not in self._rows], PIECE):
            self._rows.update(dict.fromkeys(some))
            self._rows.update({row.id: row for row in self._runs_where("id", some)})
        return {run: self._rows[run] for run in wanted}

    def _runs_where(self, field: str, ids: Sequence[str]) -> list[Row]:
        values = ", ".join("'{}'".format(id.replace("'", "''")) for id in ids)
        query, after, rows = Query(where=f"{field} in ({values})", order_by="started, id", children=True), None, []
        while True:
            page = self._questions.runs(query, after)
            rows += page.rows
            after = page.after
            if after is None:
                return rows

    def happened(self, kind: type[Any], runs: Sequence[str]) -> Iterator[Happened]:
        """The events of some runs."""
        name = NAMES[kind]
        for some in _pieces(runs, PIECE):
            yield from read(kind, self._questions.happened(some, name))

    def mentions(self, kind: type[Any], texts: Sequence[str]) -> Iterator[Happened]:
        """The events of any runs in which one of some texts stands; or all, where that is cheaper than to look for so
        many."""
        name = NAMES[kind]
        asked = [as_in_json(text) for text in texts] if len(texts) <= TEXTS else [""]
        if asked:
            yield from read(kind, self._questions.mentions(name, asked))

    # -- what is asked of the registry --

    @cached_property
    def models(self) -> dict[str, Model]:
        """The models of the store by name; a store elsewhere has none yet."""
        return {} if self._questions.root is None else self._store.registry.states()

    def versions(self, is_wanted: Callable[[Version], bool] = lambda version: True) -> Iterator[tuple[str, Version]]:
        """The versions of all models that are wanted, deleted ones too, with their keys."""
        for model in self.models.values():
            for version in model.versions.values():
                if is_wanted(version):
                    yield f"{model.name}@{version.number}", version

    def version(self, key: str) -> tuple[Model, Version] | None:
        """A version by its key, also a deleted one."""
        name, _, number = key.rpartition("@")
        model = self.models.get(name)
        version = None if model is None else model.versions.get(number)
        return None if model is None or version is None else (model, version)

    @cached_property
    def _registered_runs(self) -> dict[str, str]:
        """The names of the runs that registered versions, by their ids."""
        made = (version.registered for _, version in self.versions())
        return {one.run: one.run_name for one in made}

    # -- upwards --

    def _above_runs(self, runs: list[str]) -> Iterator[Edge]:
        rows = self.rows(runs)
        for id, row in rows.items():
            if row is not None and row.parent:
                yield Edge(node_id("run", row.parent), node_id("run", id), "parent")
        there = [id for id, row in rows.items() if row is not None]
        yield from self._of_data(self.happened(UsedData, there))
        for run, code in last_code(self.happened(Surroundings, there)):
            yield Edge(node_id("code", code), node_id("run", run), "ran")
        for link in self.happened(Relation, there):
            if link.what.digest:
                yield self._went_on(link, link.what.digest)
            elif link.what.relation == USED:
                yield Edge(node_id("version", link.what.target), node_id("run", link.run), USED)
        removed = {id for id, row in rows.items() if row is None}
        for _, version in self.versions(lambda version: version.registered.run in removed):
            yield from self._of_data(_registered_data(version))

    def _of_data(self, events: Iterable[Happened]) -> Iterator[Edge]:
        """The edges from data sets to runs. One whose content wasn't readable has no digest: it is this run's alone."""
        listed = list(events)
        known = {(event.run, event.what.name) for event in listed if event.what.digest}
        for run, _, data in listed:
            if data.digest or (run, data.name) not in known:
                id = node_id("dataset", data.digest or f"{run}/{data.name}")
                self._names.setdefault(id, data.name)
                yield Edge(id, node_id("run", run), ROLES.get(data.role, USED))

    def _went_on(self, link: Happened, digest: str) -> Edge:
        return Edge(node_id("artifact", digest), node_id("run", link.run), link.what.relation)

    def _above_code(self, keys: list[str]) -> Iterator[Edge]:
        for key in keys:
            commit, plus, _ = key.partition("+")
            if plus:
                yield Edge(node_id("code", commit), node_id("code", key), "changed")

    def _above_artifacts(self, digests: list[str]) -> Iterator[Edge]:
        wanted = set(digests)
        for run, _, file in self.mentions(KeptFile, digests):
            if file.digest in wanted:
                yield self._kept(run, file)
            for member in file.members or []:
                if member.digest in wanted:
                    self._names.setdefault(node_id("artifact", file.digest), file.name)
                    yield Edge(node_id("artifact", file.digest), node_id("artifact", member.digest), "holds")
        for _, version in self.versions(lambda version: version.registered.artifact.digest in wanted):
            yield self._kept(version.registered.run, version.registered.artifact)

    def _kept(self, run: str, file: Any) -> Edge:
        id = node_id("artifact", file.digest)
        self._names.setdefault(id, file.name)
        return Edge(node_id("run", run), id, "kept")

    def _above_versions(self, keys: list[str]) -> Iterator[Edge]:
        for key, version in ((key, found[1]) for key in keys if (found := self.version(key))):
            yield self._registered(key, version)

    def _registered(self, key: str, version: Version) -> Edge:
        artifact = version.registered.artifact
        self._names.setdefault(node_id("artifact", artifact.digest), artifact.name)
        return Edge(node_id("artifact", artifact.digest), node_id("version", key), REGISTERED)

    def _above_deployments(self, keys: list[str]) -> Iterator[Edge]:
        wanted = set(keys)
        names = {key.partition("/")[0] for key in keys}
        for model in (self.models[name] for name in names if name in self.models):
            for version in model.versions.values():
                yield from (edge for edge in self._deployed(model, version) if split(edge.to)[1] in wanted)

    def _deployed(self, model: Model, version: Version) -> Iterator[Edge]:
        """The edges from a version to where it was brought to run, each with what became of that."""
        last = {each.environment: each for each in version.deployments}
        for environment, deployed in last.items():
            now = model.running.get(environment)
            is_there = now is not None and now.deployed.version == version.number
            status = "replaced" if deployed.status == "live" and not is_there else deployed.status
            id = node_id("deployment", f"{model.name}/{environment}")
            yield Edge(node_id("version", f"{model.name}@{version.number}"), id, status)

    def _above_checks(self, keys: list[str]) -> Iterator[Edge]:
        for key in keys:
            version = key.partition("/")[0]
            found = self.version(version)
            if found is not None:
                yield from (edge for edge in self._checked(version, found[1]) if edge.to == node_id("check", key))

    def _checked(self, key: str, version: Version) -> Iterator[Edge]:
        for name, check in version.checks.items():
            kind = "passed" if check.passed else "failed"
            yield Edge(node_id("version", key), node_id("check", f"{key}/{name}"), kind)

    # -- downwards --

    def _below_data(self, keys: list[str]) -> Iterator[Edge]:
        wanted = set(keys)
        yield from self._of_data(one for one in self.mentions(UsedData, keys) if one.what.digest in wanted)
        for key in keys:  # those without a digest
            run, slash, name = key.partition("/")
            if slash:
                used = self.happened(UsedData, [run])
                yield from self._of_data(one for one in used if one.what.name == name and not one.what.digest)
        for _, version in self.versions():
            data = [one for one in _registered_data(version) if one.what.digest in wanted]
            yield from self._of_data(data)

    def _below_code(self, keys: list[str]) -> Iterator[Edge]:
        wanted = set(keys)
        commits = list({key.partition("+")[0] for key in keys})
        for run, code in last_code(self.mentions(Surroundings, commits)):
            if code in wanted:
                yield Edge(node_id("code", code), node_id("run", run), "ran")
            elif code.partition("+")[0] in wanted:
                yield from self._above_code([code])

    def _below_runs(self, runs: list[str]) -> Iterator[Edge]:
        for some in _pieces(runs, PIECE):
            for row in self._runs_where("parent", some):
                self._rows[row.id] = row
                yield Edge(node_id("run", str(row.parent)), node_id("run", row.id), "parent")
        for run, _, file in self.happened(KeptFile, runs):
            if file.type not in TO_LOOK_AT:
                yield self._kept(run, file)
        wanted = set(runs)
        for _, version in self.versions(lambda version: version.registered.run in wanted):
            yield self._kept(version.registered.run, version.registered.artifact)

    def _below_artifacts(self, digests: list[str]) -> Iterator[Edge]:
        wanted = set(digests)
        folders = self._folders(digests)
        for link in self.mentions(Relation, [*digests, *folders]):
            digest = link.what.digest
            if digest in wanted:
                yield self._went_on(link, digest)
            for folder in folders.get(digest, ()):
                yield Edge(node_id("artifact", folder), node_id("artifact", digest), "holds")
        for key, version in self.versions(lambda version: version.registered.artifact.digest in wanted):
            yield self._registered(key, version)

    def _folders(self, digests: list[str]) -> dict[str, set[str]]:
        """The files in those of these artifacts that are folders, and for each the folders that hold it."""
        folders: defaultdict[str, set[str]] = defaultdict(set)
        wanted = set(digests)
        for _, _, file in self.mentions(KeptFile, digests):
            if file.digest in wanted:
                for member in file.members or []:
                    folders[member.digest].add(file.digest)
        return folders

    def _below_versions(self, keys: list[str]) -> Iterator[Edge]:
        for key, (model, version) in ((key, found) for key in keys if (found := self.version(key))):
            yield from self._deployed(model, version)
            yield from self._checked(key, version)
        wanted = set(keys)
        for run, _, link in self.mentions(Relation, keys):
            if link.relation == USED and link.target in wanted:
                yield Edge(node_id("version", link.target), node_id("run", run), USED)

    # -- labels --

    def _label(self, kind: str, key: str) -> str:
        name = self._names.get(node_id(kind, key))
        match kind:
            case "run":
                return self._run_label(key)
            case "code":
                commit, plus, _ = key.partition("+")
                return f"{commit[:DIFF_DIGITS]}{', changed' * bool(plus)}"
            case "version":
                found = self.version(key)
                return f"{key}, {'deleted' if found[1].deleted else found[1].stage}" if found else key
            case "dataset" | "artifact":
                short = key.partition("/")[2] or wording.digest(key)
                return f"{name} ({short})" if name and name != short else short
            case "deployment":
                model, _, environment = key.partition("/")
                return f"{model} in {environment}"
        return key

    def _run_label(self, id: str) -> str:
        row = self._rows.get(id)
        if row is not None:
            return row.name or id
        name = self._registered_runs.get(id)
        return f"{name or id}, removed"


def _registered_data(version: Version) -> Iterator[Happened]:
    """The data of a version's run, as the registry knows it."""
    made = version.registered
    return (Happened(made.run, "", UsedData(data.name, data.role, data.digest)) for data in made.datasets)


def _by_kind(ids: Iterable[str]) -> defaultdict[str, list[str]]:
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for id in ids:
        kind, key = split(id)
        grouped[kind].append(key)
    return grouped


def _pieces(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
