"""Nothing that anybody wrote reaches a terminal but as text: whatever the field, whatever the command.

The fields come from the events' own structures, the commands and their options from the parsers, so that new ones are
tried without a word here; a new kind of argument makes a test fail until it is said what to give for it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.cli.conftest import strict

import tachograph
from tachograph import cli, events
from tachograph.cli import COMMANDS, arguments
from tachograph.registry import decisions

TRAINING = """
import numpy, tachograph
with tachograph.start_run("real") as run:
    run.log_dataset(numpy.ones((4, 2)), name="x", target=numpy.array([0, 0, 1, 1]))
"""
# What sets a terminal's title, clears it, rings, goes back in the line, begins one of its own, turns the direction.
HOSTILE = "\x1b]0;PWN\x07\x1b[2J\x08\r\x00\x9b2J\x85\u202e\u2066\u2028\x7f<script>alert(1)</script>\nFORGED"
NAME = HOSTILE.replace("\0", "").replace("/", "")  # as a folder may be called
OF_SEVERAL_LINES = {"traceback", "text", "diff"}  # of which each line is shown on a line
RUN, CHILD, WRITER = "20260101-<script>", "20260102-<script>", "0-h-1-<script>"  # others are left out
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def hostile(name: str) -> str:
    return HOSTILE.replace("\n", "\r\n").replace("FORGED", "lines") if name in OF_SEVERAL_LINES else HOSTILE


def filled(kind: msgspec.inspect.Type, name: str) -> Any:
    """A value of a type, in which every text is hostile."""
    match kind:
        case msgspec.inspect.StrType():
            return hostile(name)
        case msgspec.inspect.LiteralType():
            return kind.values[0]
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.IntType():
            return 1
        case msgspec.inspect.FloatType():
            return 1.5
        case msgspec.inspect.ListType():
            return [filled(kind.item_type, name)]
        case msgspec.inspect.DictType():
            return {HOSTILE: filled(kind.value_type, name)}
        case msgspec.inspect.StructType():
            return {field.encode_name: filled(field.type, field.name) for field in kind.fields}
        case msgspec.inspect.UnionType():
            return filled(next(one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType)), name)
        case msgspec.inspect.AnyType():
            return {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}
    raise NotImplementedError(f"say here what a hostile {kind} is")


def all_kinds() -> Iterator[dict[str, Any]]:
    """An event of each kind."""
    for kind in events.Known.__args__:
        yield {"kind": str(kind.__struct_config__.tag), **filled(msgspec.inspect.type_info(kind), "")}
    yield {"kind": HOSTILE, "values": {HOSTILE: HOSTILE}}


def all_decisions() -> Iterator[dict[str, Any]]:
    """Two versions, each kind of decision about the first one, refused ones too, and what makes no sense."""
    made = {str(kind.__struct_config__.tag): decision(kind) for kind in decisions.Known.__args__}
    yield made["registered"]
    yield made["registered"] | {"version": "1.1.0"}
    yield from (about for kind, about in made.items() if kind not in ("registered", "deleted"))
    yield made["deployed"] | {"status": "live"}
    yield made["deployed"] | {"status": "live", "version": "1.1.0"}
    yield made["deleted"] | {"version": "1.1.0"}
    yield from (about | {"refused": [HOSTILE, HOSTILE]} for about in made.values())
    yield from (about | {"version": HOSTILE} for about in made.values() if "version" in about)
    yield {"kind": HOSTILE, "by": HOSTILE, "host": HOSTILE, "reason": HOSTILE, HOSTILE: HOSTILE}
    yield made["noted"] | {"version": None}
    yield made["tagged"] | {"version": None}


def decision(kind: Any) -> dict[str, Any]:
    made = {"kind": str(kind.__struct_config__.tag), **filled(msgspec.inspect.type_info(kind), "")}
    if "artifact" in made:  # whose files have proper digests: others are damage, and make no version
        digest = f"sha256:{0:064}"
        made["artifact"] |= {"digest": digest, "members": [{"path": HOSTILE, "digest": digest, "size": 1}]}
    return made | {"refused": [], "at": 1.7e9} | ({"version": "1.0.0"} if "version" in made else {})


def spoilt(value: Any, name: str = "") -> Any:
    """Plain values with every text of theirs made hostile."""
    if isinstance(value, str):
        return f"{value[:8]}{hostile(name)}"
    if isinstance(value, list):
        return [spoilt(item, name) for item in value]
    if isinstance(value, dict):
        return {key: spoilt(item, key) for key, item in value.items()} | {HOSTILE: HOSTILE}
    return value


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a run really knows of its surroundings and its data."""
    folder = tmp_path_factory.mktemp("real")
    path = folder / "train.py"
    path.write_text(TRAINING)
    subprocess.run([sys.executable, path], env={**os.environ, "TACHOGRAPH_DIR": str(folder / "store")}, check=True)
    lines = [line for file in folder.glob("store/runs/*/*/*.jsonl") for line in file.read_bytes().splitlines()]
    return [found for line in lines if (found := json.loads(line))["kind"] in ("environment", "dataset")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, facts: list[dict[str, Any]]) -> Path:
    """A store in which every text is hostile, its own path too."""
    root = tmp_path_factory.mktemp("hostile") / NAME
    start = {
        "kind": "run.start", "name": HOSTILE, "experiment": HOSTILE, "role": "owner", "host": HOSTILE, "boot": HOSTILE,
        "pid": 1, "born": 1, "sinks": [f"file:///{HOSTILE}", HOSTILE],
    }  # fmt: skip
    kinds = {one["kind"]: one for one in all_kinds()}
    end = kinds.pop("run.end") | {"status": "failed"}  # one of five: another text would be damage, and end no run
    real = [{**spoilt(fact), "kind": fact["kind"]} for fact in facts]
    points = [
        {"kind": "metrics", "step": step, "values": {HOSTILE: step, f"system/{HOSTILE}": 1.0}} for step in range(9)
    ]
    write(root, RUN, WRITER, [start, *kinds.values(), *real, *points, end])
    write(root, RUN, "1-h-2-a", [{**start, "rank": 1, "role": HOSTILE, "parent": HOSTILE}, end])
    write(root, CHILD, WRITER, [{**start, "parent": RUN}, *points[:1], end])
    write(root, NAME, NAME, [start, end])
    write_decisions(root / "registry" / "iris", all_decisions())
    write_decisions(root / "registry" / "torn", [*all_decisions(), {"kind": "protected", "at": "\x1b[2J"}])
    return root


def write_decisions(folder: Path, happened: Iterable[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    previous = ""
    for number, about in enumerate(happened, 1):
        content = json.dumps(about | {"number": number, "previous": previous}).encode()
        (folder / f"{number}.json").write_bytes(content)
        previous = decisions.digest(content)


def write(root: Path, run: str, writer: str, happened: list[dict[str, Any]]) -> None:
    folder = root / "runs" / run / writer
    folder.mkdir(parents=True)
    with open(folder / "1.jsonl", "w") as file:
        for seq, event in enumerate(happened, 1):
            line = {**event, "v": 1, "seq": seq, "at": 1.7e9 + seq}
            if event["kind"] == "run.start":
                line |= {"run": run, "writer": writer}
            file.write(json.dumps(line) + "\n")
        file.write('{"kind": "note", "v": 1, "seq": 900, "at": 1.7e9, "text": 5, "x": "\x1b[2J\u202e"}\n')


@pytest.fixture
def root(prepared: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copied = tmp_path / NAME
    shutil.copytree(prepared, copied)
    monkeypatch.setenv("TACHOGRAPH_DIR", str(copied))
    return copied


# -- every command, with every option --

GIVEN: dict[str, Any] = {
    "RUN": lambda place: RUN,
    "NODE": lambda place: RUN,
    "NAME": lambda place: HOSTILE.replace("\0", ""),
    "DEST": lambda place: str(place / f"dest {NAME}"),
    "DIR": lambda place: str(place / f"other {NAME}"),
    "PLACE": lambda place: str(place / f"place {NAME}"),
    "FILE": lambda place: str(place / f"file {NAME}"),
    "URL": lambda place: f"file://{place}/{NAME}",
    "E": lambda place: NAME,
    "QUERY": lambda place: f"name = '{NAME}'",
    "FIELDS": lambda place: f'tags."{NAME}", {NAME}',
    "N": lambda place: "2",
    "DAYS": lambda place: "2",
    "HOST": lambda place: NAME,
    "PORT": lambda place: NAME,
    "KEY=VALUE": lambda place: NAME,
    "NAME@V": lambda place: "iris@1.0.0",
    "NAME[@V]": lambda place: "iris",
    "STAGE": lambda place: "production",
    "ALIAS": lambda place: "champion",
    "ENVIRONMENT": lambda place: "eu-prod",
    "A": lambda place: NAME,
    "V": lambda place: NAME,
    "TEXT": lambda place: HOSTILE.replace("\0", ""),
}
OF_MODELS = {**GIVEN, "NAME": lambda place: "iris", "KEY=VALUE": lambda place: f"{NAME}={NAME}"}
ELSEWHERE = {"exec", "serve"}  # which do not return: tried in processes of their own


def parsers() -> Iterator[tuple[list[str], argparse.ArgumentParser]]:
    """Each command and each command below it."""
    for name in COMMANDS:
        parser = arguments.Parser(name, import_module(f"tachograph.cli.{name}"))
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if below:
            yield from (([name, sub], own) for sub, own in below[0].choices.items())
        else:
            yield [name], parser


def value(action: argparse.Action, place: Path, given: dict[str, Any]) -> list[str]:
    """What to give for an argument."""
    if action.choices:
        return [str(next(iter(action.choices)))]
    name = action.metavar or action.dest.upper()
    assert isinstance(name, str)
    return [given[one](place) for one in name.replace("...", "").split()]


def calls(parser: argparse.ArgumentParser, place: Path) -> Iterator[list[str]]:
    """Ways to call a command: as briefly as can be, and with each of its options."""
    own = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    texts = OF_MODELS if " model " in parser.prog else GIVEN
    positional = [text for action in own if not action.option_strings for text in value(action, place, texts)]
    needed = [
        text
        for action in own
        if action.option_strings and action.required
        for text in (action.option_strings[0], *value(action, place, texts))
    ]
    options = [action for action in own if action.option_strings and not action.required]
    brief = [*needed, *positional]
    if any(action.dest == "runs" and action.nargs == "+" for action in own):
        brief.append(CHILD)
    yield from (brief, [], [f"--{NAME}", *brief])
    for action in options:
        given = value(action, place, texts) if action.nargs != 0 else []
        yield [action.option_strings[0], *given, *brief]
        if "--json" in parser._option_string_actions:
            yield [action.option_strings[0], *given, *brief, "--json"]


CALLS = [
    pytest.param(path, call, how, id=f"{' '.join(path)}-{number}-{how}")
    for path, parser in parsers()
    if path[0] not in ELSEWHERE
    for number, call in enumerate(calls(parser, Path("/nowhere")))
    for how in ("plain", "styled", "json")
    if how == "plain" or (number == 0 and (how == "styled" or "--json" in parser._option_string_actions))
]


@pytest.mark.parametrize(("path", "call", "how"), CALLS)
def test_no_command_shows_anything_but_text(root, run_cli, monkeypatch, tmp_path, path, call, how):
    if how == "styled":
        monkeypatch.setenv("FORCE_COLOR", "1")
    call = [*path, *(text.replace("/nowhere", str(tmp_path)) for text in call), *["--json"] * (how == "json")]
    status, output, errors = run_cli(*call, *["--yes"] * (path in (["rm"], ["model", "delete"])))
    check(_STYLE.sub("", output) if how == "styled" else output, errors)
    if "--json" in call and status == 0:
        strict(output)


def check(*outputs: str) -> None:
    for output in outputs:
        assert [character for character in output if not character.isprintable() and character != "\n"] == []
        assert not [line for line in output.splitlines() if line.startswith("FORGED")]


def test_what_is_tried_does_say_something(root, run_cli):
    """Else the test above could hold of nothing."""
    said = [
        "runs --children",
        f"show {RUN}",
        f"show {CHILD}",
        f"compare {RUN} {CHILD}",
        f"tail {RUN}",
        f"lineage {RUN}",
        f"lineage {RUN} --downstream --format mermaid",
        f"lineage {RUN} --downstream --format dot",
        "verify",
        "doctor",
        "model versions",
        "model show iris",
        "model show iris@1.0.0",
        "model history iris",
        "model history iris@1.0.0",
        "model rule iris --list",
    ]
    for command in said:
        _, output, errors = run_cli(*command.split())
        assert (output + errors).count("FORGED") > 1, (command, errors)
    assert "FORGED" in run_cli("show", f"nobody {NAME}")[2]


@pytest.mark.slow
def test_a_server_says_its_place_as_text(root):
    pytest.importorskip("starlette")
    command = [sys.executable, "-m", "tachograph", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=180)
    assert "FORGED" in said
    check(said + output, errors)


@pytest.mark.parametrize("script", [f"{NAME}.py", "--tag=" + NAME, "--" + NAME, f"-m{NAME}"])
def test_exec_says_what_is_wrong_as_text(root, program, script):
    done = program("exec", script, "train.py")
    assert done.returncode == 2
    check(done.stdout, done.stderr)


def test_a_notebook_shows_only_text(root):
    store = tachograph.open_store()
    runs = store.runs(children=True)
    shown = [runs._repr_html_(), *(run._repr_html_() for run in runs), repr(store), repr(runs)]
    shown += [repr(artifact) for run in runs for artifact in run.artifacts]
    shown += [repr(version) for version in store.versions()] + [repr(model) for model in store.models]
    assert "FORGED" in shown[0]
    check(*shown)
    assert not any("<script" in text for text in shown[: len(runs) + 1])


def test_only_two_modules_write():
    """What is written passes through them: no other one prints, has a stream at hand, or knows rich."""
    folder = Path(cli.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name in ("output.py", "draw.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = {
                ast.Name: lambda node: [node.id],
                ast.Attribute: lambda node: [node.attr],
                ast.Import: lambda node: [alias.name.partition(".")[0] for alias in node.names],
                ast.ImportFrom: lambda node: [(node.module or "").partition(".")[0], *(one.name for one in node.names)],
            }.get(type(node), lambda node: [])(node)
            forbidden = {"print", "stdout", "stderr", "__stdout__", "__stderr__", "rich"} & set(names)
            assert not forbidden, f"{path.name}:{getattr(node, 'lineno', 0)} {forbidden}"
