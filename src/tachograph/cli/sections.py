"""The parts of what is shown of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tachograph.artifacts import Artifact
from tachograph.cli import draw, runs, telling, words
from tachograph.events import Dataset, Fault
from tachograph.history import Summary
from tachograph.printable import printable
from tachograph.records import Note, RunRecord, Writer

CURVE_WIDTH = 30
CHART_POINTS = 5  # fewer are told by their line in the table
CHART_WIDTH = 80  # at most
NARROW_CHART = 50  # two of these stand beside each other rather than one that is wider
SHOWN_CHILDREN = 20
SHOWN_CLASSES = 5
SHOWN_LINES = 10
# What a training depends on, beside the user's own code.
LIBRARIES = (
    "accelerate", "catboost", "datasets", "flax", "jax", "keras", "lightgbm", "lightning", "numpy", "pandas", "polars",
    "pytorch-lightning", "scikit-learn", "scipy", "tensorflow", "torch", "torchvision", "transformers", "xgboost",
)  # fmt: skip
_UNITS = {"percent": "%", "utilization": "%", "power": " W", "temperature": " °C"}
_BYTES = ("rss", "available", "free", "read", "written", "sent", "received", "used", "memory")


def error(fault: Fault) -> Iterator[Text]:
    """What a run failed with."""
    yield Text(words.line(f"{fault.type}: {fault.message}"), "red")
    if fault.traceback:
        yield Text("\n".join(map(printable, fault.traceback.rstrip().splitlines())), "dim")


def pairs(values: Mapping[str, str], console: Console) -> RenderableType:
    """Names and values; on a terminal in as many columns as fit."""
    items = [Text.assemble((f"{words.line(name)}=", "dim"), value) for name, value in sorted(values.items())]
    if not console.is_terminal:
        return Text("\n").join(items)
    return Columns(items, padding=(0, draw.GAP), column_first=True)


def note(note: Note) -> Text:
    """A remark; ours are marked."""
    source = " by tachograph" if note.source == "tachograph" else ""
    return Text.assemble((f"{words.moment(note.at)}{source}  ", "dim"), words.line(note.text))


def console_lines(lines: Sequence[str]) -> Iterator[Text]:
    """The end of what was printed."""
    return (Text(printable(line)) for line in lines[-SHOWN_LINES:])


# -- metrics --


def metrics(run: RunRecord, console: Console) -> Iterator[RenderableType]:
    """Single values, and those that have a course."""
    summaries = run.summaries(telling.metrics(run.metrics))
    single = {name: words.number(own.last) for name, own in summaries.items() if own.count == 1}
    courses = {name: own for name, own in summaries.items() if own.count > 1}
    if single:
        yield pairs(single, console)
    if single and courses:
        yield Text()
    if courses:
        yield draw.table(_courses(run, courses, console))
        yield from _charts(run, courses, console)


def _courses(run: RunRecord, summaries: Mapping[str, Summary], console: Console) -> list[draw.Column]:
    known = summaries.values()
    columns = [
        draw.Column("NAME", list(map(words.line, summaries))),
        draw.Column("LAST", [words.number(own.last) for own in known], right=True),
        draw.Column("MIN", [words.number(own.min) for own in known], right=True),
        draw.Column("AT", [_step(own.min_step) for own in known], right=True),
        draw.Column("MAX", [words.number(own.max) for own in known], right=True),
        draw.Column("AT", [_step(own.max_step) for own in known], right=True),
        draw.Column("POINTS", [f"{own.count:,}" for own in known], right=True),
    ]
    room = min(CURVE_WIDTH, console.width - sum(column.width for column in columns))
    if room < len("CURVE"):
        return columns
    histories = map(run.history, summaries)
    return [*columns, draw.Column("CURVE", [draw.spark(own.steps, own.values, room) for own in histories])]


def _step(step: int | None) -> str:
    return "" if step is None else str(step)


def _charts(run: RunRecord, summaries: Mapping[str, Summary], console: Console) -> Iterator[Text]:
    """Larger curves of those that say most, as many beside each other as fit."""
    room = console.width if console.is_terminal else CHART_WIDTH
    beside = 2 if room >= 2 * NARROW_CHART + draw.GAP else 1
    width = min(CHART_WIDTH, (room - draw.GAP * (beside - 1)) // beside)
    worth = [name for name, own in summaries.items() if own.count >= CHART_POINTS and not telling.is_aside(name)]
    histories = {name: run.history(name) for name in worth[: 2 * beside]}
    charts = [draw.chart(words.line(name), own.steps, own.values, width) for name, own in histories.items()]
    for start in range(0, len(charts), beside):
        yield Text()
        for lines in zip(*charts[start : start + beside], strict=True):
            yield Text((" " * draw.GAP).join(lines), no_wrap=True)


# -- what it was trained on, and with what --


def datasets(found: Sequence[Dataset], console: Console) -> RenderableType:
    """What a run was trained and evaluated on."""
    columns = [
        draw.Column("ROLE", [words.line(data.role) for data in found]),
        draw.Column("NAME", [words.line(data.name) for data in found]),
        draw.Column("ROWS", [_amount(data.rows) for data in found], right=True),
        draw.Column("COLUMNS", [_amount(data.columns) for data in found], right=True),
        draw.Column("DIGEST", [words.digest(data.digest) for data in found]),
        draw.Column("MISSING", [_missing(data.profile) for data in found], rank=1),
        draw.Column("CLASSES", [_classes(data.profile) for data in found], rank=2),
        draw.Column("SOURCE", [words.line(f"{data.source or ''} {data.version or ''}") for data in found], rank=3),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def _amount(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _missing(profile: Mapping[str, Any]) -> str:
    counts = [column["missing"] for column in profile.get("schema", ()) if column.get("missing")]
    return (
        f"{sum(counts):,} in {words.count(len(counts), 'column')}" if counts else "none" if "schema" in profile else ""
    )


def _classes(profile: Mapping[str, Any]) -> str:
    """The balance of the classes, the largest first."""
    counts = profile.get("classes") or {}
    total = sum(counts.values()) or 1
    largest = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{words.line(name)} {count / total:.0%}" for name, count in largest[:SHOWN_CLASSES])
    return shown + (f" and {len(counts) - SHOWN_CLASSES} more" if len(counts) > SHOWN_CLASSES else "")


def artifacts(known: Sequence[Artifact], console: Console) -> Iterable[RenderableType]:
    """The files that were kept; those that were let go of since are counted."""
    found = [artifact for artifact in known if not artifact.released]
    files = [words.line(artifact.filename) + "/" * bool(artifact.members) for artifact in found]
    columns = [
        draw.Column("NAME", [words.line(artifact.name) for artifact in found]),
        draw.Column("KIND", [words.line(artifact.kind) for artifact in found]),
        draw.Column("SIZE", [words.size(artifact.size) for artifact in found], right=True),
        draw.Column("STEP", [_step(artifact.step) for artifact in found], right=True),
        draw.Column("FILE", files, rank=1),
        draw.Column("DIGEST", [words.digest(artifact.digest) for artifact in found], rank=2),
    ]
    if found:
        yield draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))
    if len(found) < len(known):
        yield Text(f"the bytes of {words.count(len(known) - len(found), 'more checkpoint')} were let go of", "dim")


# -- where --


def links(run: RunRecord, console: Console) -> RenderableType:
    """What a run came from or has used, with the run that made it, where this store has that."""
    found = [(link, [keeper for keeper in run.keepers(link.target) if keeper.id != run.id]) for link in run.links]
    columns = [
        draw.Column("RELATION", [words.line(link.relation) for link, _ in found]),
        draw.Column("OF RUN", [f"{keepers[0].name} {keepers[0].id}" if keepers else "" for _, keepers in found]),
        draw.Column("FILE", [words.line(str(link.meta.get("path", ""))) for link, _ in found], rank=1),
        draw.Column("TARGET", [words.digest(words.line(link.target)) for link, _ in found]),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def environment(facts: Mapping[str, Any]) -> RenderableType:
    """Interpreter, machine, code and libraries, a line each."""
    lines = {
        "python": _python(facts.get("python") or {}),
        "machine": _machine(facts),
        "gpus": ", ".join(str(gpu.get("name")) for gpu in facts.get("gpus") or ()),
        "code": _code(facts.get("git") or {}),
        "packages": _packages(facts.get("packages") or {}),
        "command": " ".join(map(str, facts.get("argv") or ())),
        "folder": facts.get("cwd") or "",
        "seeds": ", ".join(f"{library} {seed}" for library, seed in (facts.get("seeds") or {}).items()),
        "not found out": facts.get("error") or "",
    }
    known = {name: words.line(text) for name, text in lines.items() if text}
    grid = Table.grid(padding=(0, draw.GAP))
    for name, text in known.items():
        grid.add_row(Text(name, "dim"), Text(text))
    return grid


def _python(python: Mapping[str, Any]) -> str:
    return " ".join(str(python[key]) for key in ("version", "implementation", "executable") if key in python)


def _machine(facts: Mapping[str, Any]) -> str:
    system, cpu, memory = (facts.get(key) or {} for key in ("os", "cpu", "memory"))
    parts = [" ".join(str(system[key]) for key in ("host", "system", "release", "machine") if key in system)]
    if cpu.get("count"):
        parts.append(f"{cpu['count']} x {cpu.get('model') or 'CPU'}")
    if memory.get("total"):
        parts.append(words.size(memory.get("limit") or memory["total"]))
    return ", ".join(filter(None, parts))


def _code(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return str(git.get("error") or "")
    parts = [f"{git['commit'][:12]} on {git.get('branch') or 'no branch'}"]
    if git.get("dirty"):
        parts.append(
            f"changed since ({words.size(git['diff_bytes'])} of diff)" if git.get("diff_bytes") else "changed since"
        )
    if git.get("untracked"):
        parts.append(words.count(len(git["untracked"]), "untracked file"))
    if git.get("remote"):
        parts.append(str(git["remote"]))
    return ", ".join(parts)


def _packages(versions: Mapping[str, str]) -> str:
    named = ", ".join(f"{name} {versions[name]}" for name in LIBRARIES if name in versions)
    return words.count(len(versions), "package") + f": {named}" * bool(named) if versions else ""


def hardware(run: RunRecord, console: Console) -> RenderableType:
    """What the machine did meanwhile."""
    summaries = run.summaries(sorted(run.system))
    seen = {name: own for name, own in summaries.items() if own.max != 0}
    columns = [draw.Column("NAME", [words.line(name.removeprefix("system/")) for name in seen])]
    for header in ("MIN", "MEAN", "MAX"):
        cells = [_reading(name, getattr(own, header.lower())) for name, own in seen.items()]
        columns.append(draw.Column(header, cells, right=True))
    columns.append(draw.Column("SAMPLES", [f"{own.count:,}" for own in seen.values()], right=True))
    return draw.table(draw.fitting(columns, console.width))


def _reading(name: str, value: float) -> str:
    """A sample's value with its unit, which its name tells."""
    last = name.rpartition(".")[2]
    if last in _BYTES and value == value:
        return words.size(value)
    return words.number(value, digits=3) + _UNITS.get(last, "")


# -- who --


def children(found: Sequence[RunRecord], console: Console) -> Iterator[RenderableType]:
    """Nested runs, the first ones."""
    yield runs.table(list(found[:SHOWN_CHILDREN]), console)
    if len(found) > SHOWN_CHILDREN:
        rest = words.count(len(found) - SHOWN_CHILDREN, "more child")
        yield Text(f"and {rest}: tachograph runs --children --where \"parent = '{found[0].parent_id}'\"", "dim")


def writers(found: Sequence[Writer], console: Console) -> RenderableType:
    """The processes that wrote."""
    columns = [
        draw.Column("RANK", [str(writer.rank) for writer in found], right=True),
        draw.Column("HOST", [words.line(writer.host) for writer in found]),
        draw.Column("PID", [str(writer.pid) for writer in found], right=True),
        draw.Column("ROLE", [words.line(writer.role) for writer in found]),
        draw.Column("STATUS", [writer.status for writer in found], styles=draw.STATUS_STYLES),
        draw.Column("ERROR", [_brief(writer.error) for writer in found], rank=1),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def _brief(fault: Fault | None) -> str:
    return words.line(f"{fault.type}: {fault.message}") if fault else ""
