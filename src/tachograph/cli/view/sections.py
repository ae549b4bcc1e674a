"""The parts of what is shown of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tachograph import wording
from tachograph.cli import runs
from tachograph.cli.view import draw, plain_values, ranking
from tachograph.events import Dataset, Fault
from tachograph.store.artifacts import Artifact
from tachograph.store.history import Summary
from tachograph.store.run_record import Note, RunRecord, Writer

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


def error(fault: Fault) -> Iterator[draw.Text]:
    """What a run failed with."""
    yield draw.line((wording.line(f"{fault.type}: {fault.message}"), "red"))
    for one in fault.traceback.rstrip().splitlines():
        yield draw.line((one, "dim"))


def params(values: Mapping[str, Any], console: draw.Console) -> Iterator[draw.Drawn]:
    """Those that have a value, and in one line the names of those that have none."""
    shown = {name: wording.param(value) for name, value in values.items() if value is not None}
    if shown:
        yield pairs(shown, console)
    if none := sorted(map(wording.line, values.keys() - shown.keys())):
        yield draw.line(("None: ", "dim"), ", ".join(none))


def pairs(values: Mapping[str, str], console: draw.Console) -> draw.Drawn:
    """Names and values; on a terminal in as many columns as fit."""
    lines = [draw.line((f"{wording.line(name)}=", "dim"), value) for name, value in sorted(values.items())]
    return draw.side_by_side(lines, console)


def note(note: Note) -> draw.Text:
    """A remark; ours are marked."""
    source = " by tachograph" if note.source == "tachograph" else ""
    return draw.line((f"{wording.moment(note.at)}{source}  ", "dim"), wording.line(note.text))


def console_lines(lines: Sequence[str]) -> Iterator[draw.Text]:
    """The end of what was printed."""
    return map(draw.line, lines[-SHOWN_LINES:])


# -- metrics --


def metrics(run: RunRecord, console: draw.Console) -> Iterator[draw.Drawn]:
    """Single values, and those that have a course."""
    summaries = run.summaries(ranking.metrics(run.metrics))
    single = {name: wording.number(own.last) for name, own in summaries.items() if own.count == 1}
    courses = {name: own for name, own in summaries.items() if own.count > 1}
    if single:
        yield pairs(single, console)
    if single and courses:
        yield draw.line()
    if courses:
        yield draw.table(_courses(run, courses, console))
        yield from _charts(run, courses, console)


def _courses(run: RunRecord, summaries: Mapping[str, Summary], console: draw.Console) -> list[draw.TableColumn]:
    known = summaries.values()
    columns = [
        draw.TableColumn("NAME", list(map(wording.line, summaries))),
        draw.TableColumn("LAST", [wording.number(own.last) for own in known], right=True),
        draw.TableColumn("MIN", [wording.number(own.min) for own in known], right=True),
        draw.TableColumn("AT", [_step(own.min_step) for own in known], right=True),
        draw.TableColumn("MAX", [wording.number(own.max) for own in known], right=True),
        draw.TableColumn("AT", [_step(own.max_step) for own in known], right=True),
        draw.TableColumn("POINTS", [f"{own.count:,}" for own in known], right=True),
    ]
    room = min(CURVE_WIDTH, console.width - sum(column.width for column in columns))
    if room < len("CURVE"):
        return columns
    histories = map(run.history, summaries)
    return [*columns, draw.TableColumn("CURVE", [draw.spark(own.steps, own.values, room) for own in histories])]


def _step(step: int | None) -> str:
    return "" if step is None else str(step)


def _charts(run: RunRecord, summaries: Mapping[str, Summary], console: draw.Console) -> Iterator[draw.Text]:
    """Larger curves of those that say most, as many beside each other as fit."""
    room = console.width if console.is_terminal else CHART_WIDTH
    beside = 2 if room >= 2 * NARROW_CHART + draw.GAP else 1
    width = min(CHART_WIDTH, (room - draw.GAP * (beside - 1)) // beside)
    worth = [name for name, own in summaries.items() if own.count >= CHART_POINTS and not ranking.is_aside(name)]
    histories = {name: run.history(name) for name in worth[: 2 * beside]}
    charts = [draw.chart(wording.line(name), own.steps, own.values, width) for name, own in histories.items()]
    for start in range(0, len(charts), beside):
        yield draw.line()
        for lines in zip(*charts[start : start + beside], strict=True):
            yield draw.line((" " * draw.GAP).join(lines), cut=True)


# -- what it was trained on, and with what --


def datasets(found: Sequence[Dataset], console: draw.Console) -> draw.Drawn:
    """What a run was trained and evaluated on."""
    columns = [
        draw.TableColumn("ROLE", [wording.line(data.role) for data in found]),
        draw.TableColumn("NAME", [wording.line(data.name) for data in found]),
        draw.TableColumn("ROWS", [_amount(data.rows) for data in found], right=True),
        draw.TableColumn("COLUMNS", [_amount(data.columns) for data in found], right=True),
        draw.TableColumn("DIGEST", [wording.digest(data.digest) for data in found]),
        draw.TableColumn("MISSING", [_missing(data.profile) for data in found], rank=1),
        draw.TableColumn("CLASSES", [_classes(data.profile) for data in found], rank=2),
        draw.TableColumn(
            "SOURCE", [wording.line(f"{data.source or ''} {data.version or ''}") for data in found], rank=3
        ),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def _amount(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _missing(profile: Mapping[str, Any]) -> str:
    known = [plain_values.number(column.get("missing")) for column in plain_values.mappings(profile.get("schema"))]
    counts = list(filter(None, known))
    if not counts:
        return "none" if known else ""
    return f"{sum(counts):,.0f} in {wording.count(len(counts), 'column')}"


def _classes(profile: Mapping[str, Any]) -> str:
    """The balance of the classes, the largest first."""
    counts = {name: plain_values.number(count) for name, count in plain_values.mapping(profile.get("classes")).items()}
    largest = sorted(counts.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    whole = max(counts.values(), default=0.0) or 1.0  # of huge counts there is no sum
    total = sum(count / whole for count in counts.values()) or 1.0
    shown = ", ".join(f"{wording.line(name)} {count / whole / total:.0%}" for name, count in largest)
    return shown + (f" and {len(counts) - SHOWN_CLASSES} more" if len(counts) > SHOWN_CLASSES else "")


def artifacts(known: Sequence[Artifact], console: draw.Console) -> Iterable[draw.Drawn]:
    """The files that were kept; those that were let go of since are counted."""
    found = [artifact for artifact in known if not artifact.released]
    files = [wording.line(artifact.filename) + "/" * bool(artifact.members) for artifact in found]
    columns = [
        draw.TableColumn("NAME", [wording.line(artifact.name) for artifact in found]),
        draw.TableColumn("KIND", [wording.line(artifact.kind) for artifact in found]),
        draw.TableColumn("SIZE", [wording.size(artifact.size) for artifact in found], right=True),
        draw.TableColumn("STEP", [_step(artifact.step) for artifact in found], right=True),
        draw.TableColumn("FILE", files, rank=1),
        draw.TableColumn("DIGEST", [wording.digest(artifact.digest) for artifact in found], rank=2),
    ]
    if found:
        yield draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))
    if len(found) < len(known):
        much = wording.count(len(known) - len(found), "more checkpoint")
        yield draw.line((f"the bytes of {much} were let go of", "dim"))


# -- where --


def links(run: RunRecord, console: draw.Console) -> draw.Drawn:
    """What a run came from or has used, with the run that made it, where this store has that."""
    found = [(link, [keeper for keeper in run.keepers(link.target) if keeper.id != run.id]) for link in run.links]
    columns = [
        draw.TableColumn("RELATION", [wording.line(link.relation) for link, _ in found]),
        draw.TableColumn("OF RUN", [f"{keepers[0].name} {keepers[0].id}" if keepers else "" for _, keepers in found]),
        draw.TableColumn("FILE", [wording.line(str(link.meta.get("path", ""))) for link, _ in found], rank=1),
        draw.TableColumn("TARGET", [wording.digest(wording.line(link.target)) for link, _ in found]),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def environment(known: Mapping[str, Any]) -> draw.Drawn:
    """Interpreter, machine, code and libraries, a line each."""
    gpus, seeds = plain_values.mappings(known.get("gpus")), plain_values.mapping(known.get("seeds"))
    lines = {
        "python": _joined(known.get("python"), "version", "implementation", "executable"),
        "machine": _machine(known),
        "gpus": ", ".join(plain_values.text(gpu.get("name")) for gpu in gpus),
        "code": _code(plain_values.mapping(known.get("git"))),
        "packages": _packages(plain_values.mapping(known.get("packages"))),
        "command": " ".join(map(plain_values.text, plain_values.items(known.get("argv")))),
        "folder": plain_values.text(known.get("cwd")),
        "seeds": ", ".join(f"{library} {plain_values.text(seed)}" for library, seed in seeds.items()),
        "not found out": plain_values.text(known.get("error")),
    }
    return draw.grid({name: wording.line(text) for name, text in lines.items() if text})


def _joined(known: Any, *names: str) -> str:
    return " ".join(filter(None, (plain_values.text(plain_values.mapping(known).get(name)) for name in names)))


def _machine(known: Mapping[str, Any]) -> str:
    cpu, memory = plain_values.mapping(known.get("cpu")), plain_values.mapping(known.get("memory"))
    parts = [_joined(known.get("os"), "host", "system", "release", "machine")]
    if cpu.get("count"):
        parts.append(f"{plain_values.text(cpu['count'])} x {plain_values.text(cpu.get('model')) or 'CPU'}")
    if size := plain_values.number(memory.get("limit")) or plain_values.number(memory.get("total")):
        parts.append(wording.size(size))
    return ", ".join(filter(None, parts))


def _code(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return plain_values.text(git.get("error"))
    parts = [f"{plain_values.text(git['commit'])[:12]} on {plain_values.text(git.get('branch')) or 'no branch'}"]
    if git.get("dirty"):
        size = plain_values.number(git.get("diff_bytes"))
        parts.append(f"changed since ({wording.size(size)} of diff)" if size else "changed since")
    if untracked := plain_values.items(git.get("untracked")):
        parts.append(wording.count(len(untracked), "untracked file"))
    return ", ".join([*parts, plain_values.text(git.get("remote"))]).removesuffix(", ")


def _packages(versions: Mapping[str, Any]) -> str:
    named = ", ".join(f"{name} {plain_values.text(versions[name])}" for name in LIBRARIES if name in versions)
    return wording.count(len(versions), "package") + f": {named}" * bool(named) if versions else ""


def hardware(run: RunRecord, console: draw.Console) -> draw.Drawn:
    """What the machine did meanwhile."""
    summaries = run.summaries(sorted(run.system))
    seen = {name: own for name, own in summaries.items() if own.max != 0}
    columns = [draw.TableColumn("NAME", [wording.line(name.removeprefix("system/")) for name in seen])]
    for header in ("MIN", "MEAN", "MAX"):
        cells = [_reading(name, getattr(own, header.lower())) for name, own in seen.items()]
        columns.append(draw.TableColumn(header, cells, right=True))
    columns.append(draw.TableColumn("SAMPLES", [f"{own.count:,}" for own in seen.values()], right=True))
    return draw.table(draw.fitting(columns, console.width))


def _reading(name: str, value: float) -> str:
    """A sample's value with its unit, which its name tells."""
    last = name.rpartition(".")[2]
    if last in _BYTES and value == value:
        return wording.size(value)
    return wording.number(value, digits=3) + _UNITS.get(last, "")


# -- who --


def children(found: Sequence[RunRecord], console: draw.Console) -> Iterator[draw.Drawn]:
    """Nested runs, the first ones."""
    yield runs.table(list(found[:SHOWN_CHILDREN]), console)
    if len(found) > SHOWN_CHILDREN:
        rest = wording.count(len(found) - SHOWN_CHILDREN, "more child")
        query = f"parent = '{found[0].parent_id}'"
        yield draw.line((f'and {rest}: tachograph runs --children --where "{query}"', "dim"))


def writers(found: Sequence[Writer], console: draw.Console) -> draw.Drawn:
    """The processes that wrote."""
    columns = [
        draw.TableColumn("RANK", [str(writer.rank) for writer in found], right=True),
        draw.TableColumn("HOST", [wording.line(writer.host) for writer in found]),
        draw.TableColumn("PID", [str(writer.pid) for writer in found], right=True),
        draw.TableColumn("ROLE", [wording.line(writer.role) for writer in found]),
        draw.TableColumn("STATUS", [writer.status for writer in found], styles=draw.STATUS_STYLES),
        draw.TableColumn("ERROR", [_brief(writer.error) for writer in found], rank=1),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def _brief(fault: Fault | None) -> str:
    return wording.line(f"{fault.type}: {fault.message}") if fault else ""
