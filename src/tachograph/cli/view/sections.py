"""The sections of what ``show`` tells about a run."""

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
CHART_POINTS = 5  # of fewer the line in the table says all
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
    for text in fault.traceback.rstrip().splitlines():
        yield draw.line((text, "dim"))


def params(values: Mapping[str, Any], console: draw.Console) -> Iterator[draw.Drawn]:
    """The parameters that have a value, and in one line the names of those that are None."""
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
    """The last lines that the run printed."""
    return map(draw.line, lines[-SHOWN_LINES:])


# -- metrics --


def metrics(run: RunRecord, console: draw.Console) -> Iterator[draw.Drawn]:
    """The metrics: those with a single value, then a table and charts of the others."""
    summaries = run.summaries(ranking.metrics(run.metrics))
    single = {name: wording.number(summary.last) for name, summary in summaries.items() if summary.count == 1}
    curves = {name: summary for name, summary in summaries.items() if summary.count > 1}
    if single:
        yield pairs(single, console)
    if single and curves:
        yield draw.line()
    if curves:
        yield draw.table(_curves(run, curves, console))
        yield from _charts(run, curves, console)


def _curves(run: RunRecord, summaries: Mapping[str, Summary], console: draw.Console) -> list[draw.TableColumn]:
    of_metrics = summaries.values()
    columns = [
        draw.TableColumn("NAME", list(map(wording.line, summaries))),
        draw.TableColumn("LAST", [wording.number(each.last) for each in of_metrics], right=True),
        draw.TableColumn("MIN", [wording.number(each.min) for each in of_metrics], right=True),
        draw.TableColumn("AT", [_step(each.min_step) for each in of_metrics], right=True),
        draw.TableColumn("MAX", [wording.number(each.max) for each in of_metrics], right=True),
        draw.TableColumn("AT", [_step(each.max_step) for each in of_metrics], right=True),
        draw.TableColumn("POINTS", [f"{each.count:,}" for each in of_metrics], right=True),
    ]
    room = min(CURVE_WIDTH, console.width - sum(column.width for column in columns))
    if room < len("CURVE"):
        return columns
    curves = [draw.spark(history.steps, history.values, room) for history in map(run.history, summaries)]
    return [*columns, draw.TableColumn("CURVE", curves)]


def _step(step: int | None) -> str:
    return "" if step is None else str(step)


def _charts(run: RunRecord, summaries: Mapping[str, Summary], console: draw.Console) -> Iterator[draw.Text]:
    """Larger curves of the metrics that say most, as many beside each other as fit."""
    room = console.width if console.is_terminal else CHART_WIDTH
    beside = 2 if room >= 2 * NARROW_CHART + draw.GAP else 1
    width = min(CHART_WIDTH, (room - draw.GAP * (beside - 1)) // beside)
    long = [name for name, each in summaries.items() if each.count >= CHART_POINTS and not ranking.is_aside(name)]
    histories = {name: run.history(name) for name in long[: 2 * beside]}
    charts = [draw.chart(wording.line(name), each.steps, each.values, width) for name, each in histories.items()]
    for start in range(0, len(charts), beside):
        yield draw.line()
        for lines in zip(*charts[start : start + beside], strict=True):
            yield draw.line((" " * draw.GAP).join(lines), cut=True)


# -- what it was trained on, and with what --


def datasets(datasets: Sequence[Dataset], console: draw.Console) -> draw.Drawn:
    """What a run was trained and evaluated on."""
    columns = [
        draw.TableColumn("ROLE", [wording.line(data.role) for data in datasets]),
        draw.TableColumn("NAME", [wording.line(data.name) for data in datasets]),
        draw.TableColumn("ROWS", [_amount(data.rows) for data in datasets], right=True),
        draw.TableColumn("COLUMNS", [_amount(data.columns) for data in datasets], right=True),
        draw.TableColumn("DIGEST", [wording.digest(data.digest) for data in datasets]),
        draw.TableColumn("MISSING", [_missing(data.profile) for data in datasets], rank=1),
        draw.TableColumn("CLASSES", [_classes(data.profile) for data in datasets], rank=2),
        draw.TableColumn(
            "SOURCE", [wording.line(f"{data.source or ''} {data.version or ''}") for data in datasets], rank=3
        ),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def _amount(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _missing(profile: Mapping[str, Any]) -> str:
    if profile.get("unfinished") is True:
        return "statistics not done"
    of_columns = [plain_values.number(each.get("missing")) for each in plain_values.mappings(profile.get("schema"))]
    counts = list(filter(None, of_columns))
    if not counts:
        return "none" if of_columns else ""
    return f"{sum(counts):,.0f} in {wording.count(len(counts), 'column')}"


def _classes(profile: Mapping[str, Any]) -> str:
    """The balance of the classes, the largest first."""
    counts = {name: plain_values.number(count) for name, count in plain_values.mapping(profile.get("classes")).items()}
    largest = sorted(counts.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    whole = max(counts.values(), default=0.0) or 1.0  # huge counts would have no finite sum
    total = sum(count / whole for count in counts.values()) or 1.0
    shown = ", ".join(f"{wording.line(name)} {count / whole / total:.0%}" for name, count in largest)
    return shown + (f" and {len(counts) - SHOWN_CLASSES} more" if len(counts) > SHOWN_CLASSES else "")


def artifacts(artifacts: Sequence[Artifact], console: draw.Console) -> Iterable[draw.Drawn]:
    """The files that are kept, and how many were released since."""
    kept = [artifact for artifact in artifacts if not artifact.released]
    files = [wording.line(artifact.filename) + "/" * bool(artifact.members) for artifact in kept]
    columns = [
        draw.TableColumn("NAME", [wording.line(artifact.name) for artifact in kept]),
        draw.TableColumn("KIND", [wording.line(artifact.kind) for artifact in kept]),
        draw.TableColumn("SIZE", [wording.size(artifact.size) for artifact in kept], right=True),
        draw.TableColumn("STEP", [_step(artifact.step) for artifact in kept], right=True),
        draw.TableColumn("FILE", files, rank=1),
        draw.TableColumn("DIGEST", [wording.digest(artifact.digest) for artifact in kept], rank=2),
    ]
    if kept:
        yield draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))
    if len(kept) < len(artifacts):
        much = wording.count(len(artifacts) - len(kept), "more checkpoint")
        yield draw.line((f"the bytes of {much} were let go of", "dim"))


# -- where --


def links(run: RunRecord, console: draw.Console) -> draw.Drawn:
    """What a run came from or has used, with the run that made it, if this store has that."""
    links = [(link, [keeper for keeper in run.keepers(link.target) if keeper.id != run.id]) for link in run.links]
    columns = [
        draw.TableColumn("RELATION", [wording.line(link.relation) for link, _ in links]),
        draw.TableColumn("OF RUN", [f"{keepers[0].name} {keepers[0].id}" if keepers else "" for _, keepers in links]),
        draw.TableColumn("FILE", [wording.line(str(link.meta.get("path", ""))) for link, _ in links], rank=1),
        draw.TableColumn("TARGET", [wording.digest(wording.line(link.target)) for link, _ in links]),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def environment(environment: Mapping[str, Any]) -> draw.Drawn:
    """Interpreter, machine, code and libraries, a line each."""
    gpus, seeds = plain_values.mappings(environment.get("gpus")), plain_values.mapping(environment.get("seeds"))
    lines = {
        "python": _joined(environment.get("python"), "version", "implementation", "executable"),
        "machine": _machine(environment),
        "gpus": ", ".join(plain_values.text(gpu.get("name")) for gpu in gpus),
        "code": _code(plain_values.mapping(environment.get("git"))),
        "packages": _packages(plain_values.mapping(environment.get("packages"))),
        "command": " ".join(map(plain_values.text, plain_values.items(environment.get("argv")))),
        "folder": plain_values.text(environment.get("cwd")),
        "seeds": ", ".join(f"{library} {plain_values.text(seed)}" for library, seed in seeds.items()),
        "not found out": plain_values.text(environment.get("error")),
    }
    return draw.grid({name: wording.line(text) for name, text in lines.items() if text})


def _joined(value: Any, *names: str) -> str:
    return " ".join(filter(None, (plain_values.text(plain_values.mapping(value).get(name)) for name in names)))


def _machine(environment: Mapping[str, Any]) -> str:
    cpu, memory = plain_values.mapping(environment.get("cpu")), plain_values.mapping(environment.get("memory"))
    parts = [_joined(environment.get("os"), "host", "system", "release", "machine")]
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
    """The load of the machine while the run went on."""
    summaries = run.summaries(sorted(run.system))
    used = {name: summary for name, summary in summaries.items() if summary.max != 0}
    columns = [draw.TableColumn("NAME", [wording.line(name.removeprefix("system/")) for name in used])]
    for header in ("MIN", "MEAN", "MAX"):
        cells = [_reading(name, getattr(summary, header.lower())) for name, summary in used.items()]
        columns.append(draw.TableColumn(header, cells, right=True))
    columns.append(draw.TableColumn("SAMPLES", [f"{summary.count:,}" for summary in used.values()], right=True))
    return draw.table(draw.fitting(columns, console.width))


def _reading(name: str, value: float) -> str:
    """A sample's value with its unit, which follows from its name."""
    last = name.rpartition(".")[2]
    if last in _BYTES and value == value:
        return wording.size(value)
    return wording.number(value, digits=3) + _UNITS.get(last, "")


# -- who --


def children(runs_below: Sequence[RunRecord], console: draw.Console) -> Iterator[draw.Drawn]:
    """Nested runs, the first ones."""
    yield runs.table(list(runs_below[:SHOWN_CHILDREN]), console)
    if len(runs_below) > SHOWN_CHILDREN:
        rest = wording.count(len(runs_below) - SHOWN_CHILDREN, "more child")
        query = f"parent = '{runs_below[0].parent_id}'"
        yield draw.line((f'and {rest}: tachograph runs --children --where "{query}"', "dim"))


def writers(writers: Sequence[Writer], console: draw.Console) -> draw.Drawn:
    """The processes that wrote."""
    columns = [
        draw.TableColumn("RANK", [str(writer.rank) for writer in writers], right=True),
        draw.TableColumn("HOST", [wording.line(writer.host) for writer in writers]),
        draw.TableColumn("PID", [str(writer.pid) for writer in writers], right=True),
        draw.TableColumn("ROLE", [wording.line(writer.role) for writer in writers]),
        draw.TableColumn("STATUS", [writer.status for writer in writers], styles=draw.STATUS_STYLES),
        draw.TableColumn("ERROR", [_brief(writer.error) for writer in writers], rank=1),
    ]
    return draw.table(draw.fitting([column for column in columns if any(column.cells)], console.width))


def _brief(fault: Fault | None) -> str:
    return wording.line(f"{fault.type}: {fault.message}") if fault else ""
