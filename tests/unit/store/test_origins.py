"""Lineage, from what runs have recorded and what was decided about models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.parts.files import file

import tachograph
from tachograph.events import RunStart
from tachograph.lineage import Lineage
from tachograph.store.store import Store

X, OTHER = np.arange(12.0).reshape(6, 2), np.ones((3, 2))


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    store = tachograph.open_store()
    yield store
    store.close()


def train(folder: Path, name: str, content: str = "weights", data: object = X, model: bool = True) -> str:
    """A run that has been trained on data, and keeps a model."""
    with tachograph.start_run(name) as run:
        run.log_dataset(data, name="train")
        if model:
            run.log_artifact(file(folder / f"{name}.bin", content), name="model", kind="model")
    return run.id


def edges(lineage: Lineage) -> set[tuple[str, str, str]]:
    """Edges without digests, ids and commits: by the labels of their ends."""
    names = {node.id: f"{node.kind} {node.label.partition(' (')[0]}" for node in lineage.nodes}
    return {(names[edge.from_], edge.kind, names[edge.to]) for edge in lineage.edges if "code:" not in edge.from_}


def ids(lineage: Lineage, kind: str) -> list[str]:
    return [node.id for node in lineage.nodes if node.kind == kind]


# -- what a version came of, what a data set went into --


def test_from_data_to_deployment_and_back(store, tmp_path):
    first, second = train(tmp_path, "first", "1"), train(tmp_path, "second", "2")
    train(tmp_path, "another", "3", data=OTHER)
    version = store.run(second).register_model("risk")
    version.promote("production")
    version.deployed("eu")
    version.checked("smoke", True)
    digest = store.run(first).datasets[0].digest
    down = store.lineage(f"dataset:{digest}", "down")
    assert edges(down) == {
        ("dataset train", "trained on", "run first"),
        ("dataset train", "trained on", "run second"),
        ("run first", "kept", "artifact model"),
        ("run second", "kept", "artifact model"),
        ("artifact model", "registered", "version risk@1.0.0, production"),
        ("version risk@1.0.0, production", "live", "deployment risk in eu"),
        ("version risk@1.0.0, production", "passed", "check risk@1.0.0/smoke"),
    }
    assert set(ids(down, "run")) == {f"run:{first}", f"run:{second}"}
    up = store.lineage("deployment:risk/eu")
    assert edges(up) == {
        ("dataset train", "trained on", "run second"),
        ("run second", "kept", "artifact model"),
        ("artifact model", "registered", "version risk@1.0.0, production"),
        ("version risk@1.0.0, production", "live", "deployment risk in eu"),
    }
    assert edges(store.lineage("check:risk@1.0.0/smoke", depth=1)) == {
        ("version risk@1.0.0, production", "passed", "check risk@1.0.0/smoke")
    }
    assert store.lineage(version).nodes == store.lineage("risk@production").nodes


def test_the_role_says_what_data_was_for(store):
    with tachograph.start_run("r") as run:
        run.log_dataset(X, name="a")
        run.log_dataset(X, name="a", role="test")
        run.log_dataset(OTHER, name="b", role="validation")
        run.use_dataset(OTHER, "lookup")
        run.log_dataset(X[:2], name="c", role="whatever")
    assert edges(store.lineage(run.id)) == {
        ("dataset a", "trained on", "run r"),
        ("dataset a", "evaluated on", "run r"),
        ("dataset b", "evaluated on", "run r"),
        ("dataset b", "used", "run r"),
        ("dataset c", "used", "run r"),
    }


def test_data_that_could_not_be_read_is_that_run_s_alone(store):
    with tachograph.start_run("one") as run:
        run.log_dataset(object(), name="stream")
    with tachograph.start_run("two") as other:
        other.log_dataset(object(), name="stream")
    [node] = ids(store.lineage(run.id), "dataset")
    assert node == f"dataset:{run.id}/stream"
    assert ids(store.lineage(node, "down"), "run") == [f"run:{run.id}"]


def test_a_used_version_leads_on(store, tmp_path):
    base = store.run(train(tmp_path, "base")).register_model("embedder")
    with tachograph.start_run("user") as run:
        run.use_model("embedder@latest")
    assert ("version embedder@1.0.0, development", "used", "run user") in edges(store.lineage(run.id))
    assert ("dataset train", "trained on", "run base") in edges(store.lineage(run.id))
    assert ids(store.lineage(base, "down"), "run") == [f"run:{run.id}"]


def test_children_come_of_their_parent(store):
    with tachograph.start_run("outer") as run, run.child("inner") as inner, inner.child("innermost"):
        pass
    expected = {("run outer", "parent", "run inner"), ("run inner", "parent", "run innermost")}
    assert edges(store.lineage("innermost")) == edges(store.lineage("outer", "down")) == expected


def test_a_file_of_another_run_that_was_loaded(store, tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    path = tmp_path / "last.pt"
    torch.save(model.state_dict(), path)
    with tachograph.start_run("before") as before:
        before.log_artifact(path, name="last", kind="checkpoint")
    with tachograph.autolog("torch"), tachograph.start_run("after") as after:
        model.load_state_dict(torch.load(path))
        optimizer = torch.optim.SGD(model.parameters())
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    expected = {("run before", "kept", "artifact last"), ("artifact last", "resumed from", "run after")}
    assert expected <= edges(store.lineage(after.id))
    assert expected <= edges(store.lineage(before.id, "down"))


def test_a_file_of_a_folder_that_was_loaded(store, tmp_path):
    part = file(tmp_path / "folder" / "part.bin", "bytes")
    with tachograph.start_run("before") as before:
        before.log_artifact(part.parent)
    [member] = store.run(before.id).artifact("folder").members
    with tachograph.start_run("after") as after:
        after.recorder.link("resumed from", member.digest)
    for lineage in (store.lineage(after.id), store.lineage(before.id, "down")):
        assert edges(lineage) == {
            ("run before", "kept", "artifact folder"),
            ("artifact folder", "holds", f"artifact {member.digest[7:19]}"),
            (f"artifact {member.digest[7:19]}", "resumed from", "run after"),
        }


def test_code_that_was_changed_is_told_from_the_commit(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True, env=environment)
        return done.stdout.strip()

    training = file(tmp_path / "train.py", "import tachograph\ntachograph.start_run('r').finish()\n")
    git("init", "-q")
    git("add", "train.py")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    for text in ("", "# changed\n", "# once more\n"):
        training.write_text(training.read_text() + text)
        subprocess.run([sys.executable, training], check=True, timeout=120)
    codes = [ids(store.lineage(run), "code") for run in reversed(store.runs())]
    assert codes[0] == [f"code:{commit}"]
    assert [len(each) for each in codes] == [1, 2, 2]
    assert len({each[0] for each in codes}) == 3
    assert codes[1][0].startswith(f"code:{commit}+")
    assert codes[1][1] == f"code:{commit}"
    down = store.lineage(f"code:{commit[:9]}", "down")
    assert (len(ids(down, "code")), len(ids(down, "run"))) == (3, 3)
    assert len(ids(store.lineage(codes[1][0], "down"), "run")) == 1
    with pytest.raises(tachograph.NotFound, match="no code"):
        store.lineage("code:0123456789")


# -- what became of versions --


def test_what_became_of_deployments(store, tmp_path):
    run = store.run(train(tmp_path, "r"))
    old, new = run.register_model("m"), run.register_model("m")
    old.deployed("eu")
    new.deployed("eu")
    old.deployed("us", status="failed")
    new.deployed("us")
    new.deployed("us", status="retired")
    found = {(edge.from_, edge.to): edge.kind for edge in store.lineage(run, "down").edges if "deployment" in edge.to}
    assert found == {
        ("version:m@1.0.0", "deployment:m/eu"): "replaced",
        ("version:m@1.1.0", "deployment:m/eu"): "live",
        ("version:m@1.0.0", "deployment:m/us"): "failed",
        ("version:m@1.1.0", "deployment:m/us"): "retired",
    }
    new.checked("drift", False)
    assert ("version m@1.1.0, development", "failed", "check m@1.1.0/drift") in edges(store.lineage(new, "down"))


def test_a_removed_run_leaves_what_the_registry_knows(store, root, tmp_path):
    id = train(tmp_path, "gone")
    version = store.run(id).register_model("risk")
    digest = store.run(id).datasets[0].digest
    before = edges(store.lineage(version))
    shutil.rmtree(root / "runs" / id)
    expected = {tuple(name.replace("run gone", "run gone, removed") for name in edge) for edge in before}
    assert edges(tachograph.open_store().lineage(version)) == expected != set()
    assert edges(store.lineage(f"run:{id}", "both")) == expected
    assert edges(store.lineage(f"dataset:{digest}", "down")) == expected


def test_a_deleted_version_stays_in_the_lineage(store, tmp_path):
    version = store.run(train(tmp_path, "r")).register_model("risk")
    version.delete("not needed")
    assert [node.label for node in store.lineage("risk@1.0.0", depth=0).nodes] == ["risk@1.0.0, deleted"]


# -- names of nodes --


def test_nodes_may_be_named_shortly(store, tmp_path):
    id = train(tmp_path, "r")
    store.run(id).register_model("risk").alias("champion")
    digest = store.run(id).datasets[0].digest
    artifact = store.run(id).artifact("model").digest
    same = {
        f"dataset:{digest}": [f"dataset:{digest}", f"dataset:{digest[7:]}", f"dataset:{digest[7:19]}"],
        f"artifact:{artifact}": [f"artifact:{artifact[7:20]}"],
        f"run:{id}": [id, "r", "latest", id[:-1], f"run:{id}", "run:r", store.run(id)],
        "version:risk@1.0.0": ["risk@1.0.0", "risk@champion", "risk@latest", "version:risk@v1.0.0"],
    }  # fmt: skip
    for node, ways in same.items():
        assert [store.lineage(way, depth=0).nodes[0].id for way in ways] == [node] * len(ways)


@pytest.mark.parametrize(
    "node",
    [
        "nobody", "run:nobody", "risk@9.9.9", "nobody@1.0.0", "version:risk", "dataset:", "dataset:sha256:",
        "dataset:12",
        "artifact:nope", "code:", "code:x", "deployment:risk", "deployment:risk/nowhere", "deployment:/", "check:", "",
        "check:risk@1.0.0/nope", "check:nope", "dataset:a/b", "\x1b[2J\n", "planet:mars", "@", None, 5, b"run:r",
    ],
)  # fmt: skip
def test_unknown_nodes(store, tmp_path, node):
    store.run(train(tmp_path, "r")).register_model("risk")
    if node == "version:risk":
        assert store.lineage(node, depth=0).nodes[0].id == "version:risk@1.0.0"
        return
    with pytest.raises(tachograph.NotFound) as error:
        store.lineage(node)
    assert len(str(error.value).splitlines()) == 1


def test_a_beginning_that_could_be_several(store, tmp_path):
    with tachograph.start_run("r") as run:
        for number in range(20):
            run.log_artifact(file(tmp_path / f"{number}.bin", str(number)))
    digests = [artifact.digest.removeprefix("sha256:") for artifact in store.run(run.id).artifacts]
    double = next(digest[0] for digest in digests if sum(other[0] == digest[0] for other in digests) > 1)
    with pytest.raises(tachograph.NotFound, match=r"is the beginning of \d+ \(sha256:.*\): write more of it"):
        store.lineage(f"artifact:{double}")


def test_of_an_empty_store(store):
    with pytest.raises(tachograph.NotFound):
        store.lineage("latest")


def test_what_happened_in_a_later_version_is_passed_over(store, root):
    with tachograph.start_run("r") as run:
        run.log_dataset(X)
    journal = next((root / "runs" / run.id).rglob("*.jsonl"))
    with open(journal, "a") as lines:
        for number, kind in enumerate(("dataset", "link", "artifact", "environment"), 900):
            lines.write(f'{{"kind": "{kind}", "v": 99, "seq": {number}, "at": 1e9, "values": {{"git": 5}}}}\n')
    assert edges(store.lineage(run.id, "both")) == {("dataset data", "trained on", "run r")}


def test_many_runs_of_one_data_set_are_asked_about_together(store, tmp_path):
    with tachograph.start_run("all") as parent:
        parent.log_dataset(X)
        for number in range(250):
            parent.recorder.add_child(f"{number}", {}, [])
    asked: list[str] = []
    rows, store.questions.tables.rows = store.questions.tables.rows, None
    store.questions.tables.rows = lambda sql, *values: asked.append(sql) or rows(sql, *values)
    found = store.lineage(f"dataset:{store.run(parent.id).datasets[0].digest}", "down")
    assert len(ids(found, "run")) == 251
    assert len(asked) < 25


def test_runs_whose_parents_form_a_circle(store, root):
    ids_of = ["20260101-000000-aaaaaa", "20260101-000000-bbbbbb"]
    for id, parent in zip(ids_of, reversed(ids_of), strict=True):
        start = RunStart(
            v=1, seq=1, at=1.7e9, run=id, writer="0-h-1-a", role="owner", host="h", boot="b", pid=1, born=1,
            name=id[-1], parent=parent,
        )  # fmt: skip
        file(root / "runs" / id / "0-h-1-a" / "1.jsonl", tachograph.events.encode(start).decode() + "\n")
    for direction in ("up", "down", "both"):
        assert edges(store.lineage(ids_of[0], direction)) == {
            ("run a", "parent", "run b"),
            ("run b", "parent", "run a"),
        }
