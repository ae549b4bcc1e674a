"""What the README says is so: its code runs, and what it shows is what comes out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jq
import pytest

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(code: str, folder: Path) -> str:
    (folder / ".tachograph").mkdir(exist_ok=True)  # whatever a parent folder has
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TACHOGRAPH_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers, ids, digests, spacing."""
    line = re.sub(r"\b[0-9a-f]{12}\b", "#", re.sub(r"\b\d{8}-\d{6}-\w{6}\b", "#", line))
    line = re.sub(r"[\d.,:-]*\d(ms|s)?( ago)?\b|\bnow\b", "#", line)
    return re.sub(r"[#█▇▆▅▄▃▂▁]+", "#", re.sub(r"\s+", "", line))


def test_the_picture_is_what_the_example_prints(tmp_path: Path) -> None:
    example = TOP / "examples" / "quickstart.py"
    for _ in range(2):  # somebody tries it again, and finds runs of the same names
        done = run(f"import runpy; runpy.run_path({str(example)!r}, run_name='__main__')", tmp_path)
    printed = [shape(line) for line in done.splitlines()]
    [picture] = blocks("text")
    for line in picture.splitlines():
        assert shape(line) in printed, line


def test_the_commands_name_what_there_is() -> None:
    commands = " ".join(blocks("sh"))
    assert "examples/quickstart.py" in commands
    assert "tox run -e lint,tests" in commands
    assert "tox run -e lint,tests" in (TOP / ".ci" / "run").read_text().replace('"$tools/bin/tox"', "tox")


def test_the_code_runs_and_the_record_is_readable_without_us(tmp_path: Path) -> None:
    autolog, record, read, query, alone, duckdb, *_ = blocks("python")
    run(autolog, tmp_path)
    run(record, tmp_path)
    assert "finished 0.001" in run(read, tmp_path)
    assert "baseline" in run(query, tmp_path)
    assert "loss" in run(alone, tmp_path)
    assert "0.333" in run(duckdb, tmp_path)
    [expression] = re.findall(r"jq -c '([^']+)'", README)
    lines = [path.read_text() for path in sorted((tmp_path / ".tachograph").glob("runs/*/*/*.jsonl"))]
    found = jq.compile(expression).input_text("".join(lines)).all()
    assert [point for point in found if point[1] is not None] == [[0, 1.0], [1, 0.5], [2, 1 / 3]]


def test_models_are_registered_promoted_and_got(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    [python] = [block for block in blocks("python") if "register_model" in block]
    assert "iris@1.0.0, production, approved" in run(python, tmp_path)
    [shell] = [block for block in blocks("sh") if "model register" in block]
    commands = shell.strip().splitlines()
    first, refused, *_, rolled_back = [shown(command, tmp_path) for command in commands]
    assert first == "iris@1.1.0\n"
    assert refused == "production asks for 1 approval: there is none\niris@1.1.0 is approved by you\n"
    assert rolled_back == "iris@1.0.0 is in production again\n"
    assert "eu-prod      1.1.0" in shown("tachograph model where iris", tmp_path)
    assert (tmp_path / "serving" / "model.joblib").is_file()
    history = shown("tachograph model history iris", tmp_path)
    assert len(history.splitlines()) == len(list(tmp_path.glob(".tachograph/registry/iris/*.json"))) == 10
    help = shown("tachograph model --help", tmp_path)
    assert all(command in help for command in ("alias", "tag", "note", "versions", "delete"))


def test_lineage_leads_from_data_to_where_it_runs(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    [models] = [block for block in blocks("python") if "register_model" in block]
    run(models, tmp_path)
    shown("tachograph model deployed iris@production eu-prod", tmp_path)
    [python] = [block for block in blocks("python") if "use_model" in block]
    edges = run(python, tmp_path)
    assert "version:iris@1.0.0 live deployment:iris/eu-prod" in edges
    assert "version:iris@1.0.0 used run:" in edges
    [shell] = [block for block in blocks("sh") if "tachograph lineage" in block]
    up, cut, mermaid, dot, document = [shown(command, tmp_path) for command in shell.strip().splitlines()]
    assert up.startswith("version iris@1.0.0, production\n└─ <- registered: artifact model (")
    assert "trained on" in up
    assert "trained on" not in cut
    assert mermaid.startswith("flowchart LR\n")
    assert dot.startswith("digraph lineage {\n")
    nodes = [node for node in json.loads(document)["nodes"] if node["kind"] == "dataset"]
    data = {node["label"].partition(" ")[0]: node["id"] for node in nodes}
    assert "flowers" in data
    [trained] = {id for name, id in data.items() if name != "flowers"}
    assert "deployment iris in eu-prod" in shown(f"tachograph lineage {trained[:20]} --downstream", tmp_path)
    [_, training] = json.loads(shown("tachograph runs --json", tmp_path))
    shown(f"tachograph rm {training['id']} --yes --force", tmp_path)
    assert shown(f"tachograph lineage {trained} --downstream", tmp_path).count("removed") == 1
    assert "trained on" in shown("tachograph lineage iris@production", tmp_path)


def shown(command: str, folder: Path) -> str:
    """What a line of a shell prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TACHOGRAPH_")}
    done = subprocess.run(
        command, shell=True, cwd=folder, env={**environment, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert link.startswith("https://") or (TOP / link).exists()


def test_the_json_is_strict(tmp_path: Path) -> None:
    run(blocks("python")[1], tmp_path)
    printed = run("from tachograph.cli import main; main(['runs', '--json'])", tmp_path)
    [shown] = json.loads(printed, parse_constant=lambda name: pytest.fail(name))
    assert shown["name"] == "baseline"
