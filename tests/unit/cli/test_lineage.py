"""``tachograph lineage``, on what scikit-learn has trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import store_of, strict

import tachograph

# Two models of one data set, of which one becomes a version that runs somewhere; and one of other data.
TRAINING = """
import tachograph
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

tachograph.autolog()
X, y = load_iris(return_X_y=True)
with tachograph.start_run("tree"):
    DecisionTreeClassifier(random_state=0).fit(X, y)
with tachograph.start_run("linear") as run:
    make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
with tachograph.start_run("wine"):
    make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(*load_wine(return_X_y=True))
version = tachograph.open_store().run(run.id).register_model("iris")
version.promote("production")
version.deployed("eu-prod", url="https://eu.example.com")
with tachograph.start_run("report") as report:
    report.use_model("iris@production")
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sklearn")
    return store_of(TRAINING, tmp_path_factory)


@pytest.fixture
def data(runs: Path) -> str:
    """The node of the data set that two runs were trained on."""
    return f"dataset:{tachograph.open_store().run('linear').datasets[0].digest}"


def labels(document: dict[str, list[dict[str, str]]], kind: str) -> set[str]:
    return {node["label"] for node in document["nodes"] if node["kind"] == kind}


def test_which_deployments_have_seen_a_data_set(runs, data, run_json):
    document = run_json("lineage", data, "--downstream")
    assert labels(document, "run") >= {"tree", "linear", "report"}
    assert "wine" not in labels(document, "run")
    assert labels(document, "version") == {"iris@1.0.0, production"}
    assert [node["id"] for node in document["nodes"] if node["kind"] == "deployment"] == ["deployment:iris/eu-prod"]
    assert {"from": "version:iris@1.0.0", "to": "deployment:iris/eu-prod", "kind": "live"} in document["edges"]


def test_json_has_nodes_and_edges_and_nothing_else(runs, data, run_json, run_cli):
    document = run_json("lineage", "deployment:iris/eu-prod")
    assert document.keys() == {"nodes", "edges"}
    assert {tuple(node) for node in document["nodes"]} == {("id", "kind", "label")}
    assert {tuple(edge) for edge in document["edges"]} == {("from", "to", "kind")}
    there = {node["id"] for node in document["nodes"]}
    assert {edge[end] for edge in document["edges"] for end in ("from", "to")} <= there
    assert document["nodes"][0]["id"] == "deployment:iris/eu-prod"
    assert data in there
    for call in (["--format", "json"], ["--json", "--format", "dot"]):
        assert strict(run_cli("lineage", "deployment:iris/eu-prod", *call)[1]) == document


def test_a_tree_on_the_terminal(runs, run_cli):
    status, output, errors = run_cli("lineage", "iris@production")
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "version iris@1.0.0, production"
    assert lines[1].startswith("└─ <- registered: artifact model (")
    assert "   └─ <- kept: run linear" in lines
    assert any(
        line.strip(" │").startswith(("├─ <- trained on: dataset", "└─ <- trained on: dataset")) for line in lines
    )
    _, output, _ = run_cli("lineage", "iris@production", "--downstream")
    assert output.splitlines() == [
        "version iris@1.0.0, production",
        "├─ -> live: deployment iris in eu-prod",
        "└─ -> used: run report",
    ]


@pytest.mark.parametrize("key", ["linear", "run:linear"])
def test_a_run_is_named_as_everywhere(runs, run_json, key):
    id = tachograph.open_store().run("linear").id
    assert run_json("lineage", key, "--depth", "0") == run_json("lineage", id[:-1], "--depth", "0")
    assert run_json("lineage", key, "--depth", "0")["nodes"] == [{"id": f"run:{id}", "kind": "run", "label": "linear"}]
    assert labels(run_json("lineage", "latest"), "version") == {"iris@1.0.0, production"}


def test_depth(runs, data, run_json):
    assert {node["kind"] for node in run_json("lineage", data, "--downstream", "--depth", "1")["nodes"]} == {
        "dataset", "run",
    }  # fmt: skip


def test_pictures(runs, data, run_cli):
    _, mermaid, _ = run_cli("lineage", data, "--downstream", "--format", "mermaid")
    assert mermaid.startswith("flowchart LR\n  n0[")
    assert '["deployment iris in eu-prod"]' in mermaid
    _, dot, _ = run_cli("lineage", data, "--downstream", "--format", "dot")
    assert dot.startswith("digraph lineage {\n")
    assert dot.endswith("}\n")
    assert '[label="deployment iris in eu-prod"];' in dot


@pytest.mark.parametrize("node", ["nobody", "iris@9.9.9", "dataset:12ab", "planet:mars", "deployment:iris/nowhere", ""])
def test_what_is_not_there_is_one_line(runs, wrong, node):
    wrong("lineage", node, status=1)


@pytest.mark.parametrize(
    "call", [[], ["linear", "--depth", "-1"], ["linear", "--depth", "x"], ["linear", "--format", "x"]]
)
def test_wrong_usage(runs, wrong, call):
    wrong("lineage", *call)


def test_it_is_a_real_command(runs, program):
    done = program("lineage", "iris@1.0.0", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["nodes"][0]["id"] == "version:iris@1.0.0"


def test_nothing_is_there(store, wrong):
    wrong("lineage", "latest", status=1)
    wrong("lineage", "iris@1.0.0", status=1)
