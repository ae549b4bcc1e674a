"""What models and versions there are, and what was decided about them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tachograph import wording
from tachograph.cli import runs
from tachograph.cli.arguments import whole_number
from tachograph.cli.model import command
from tachograph.cli.output import say
from tachograph.cli.view import draw, sections
from tachograph.registry.decisions import Checked, Known, Noted, UnknownDecision
from tachograph.store import document, model_document
from tachograph.store.model_record import ModelRecord
from tachograph.store.store import Store
from tachograph.store.version_record import VersionRecord

APPROVAL_STYLES = {"approved": "green", "rejected": "bold red"}


def configure(commands: command.Commands) -> None:
    """Add them."""
    command.add(commands, "list", "list the models", _list)
    versions = command.add(commands, "versions", "list versions of all models, the newest first", _versions)
    versions.add_argument("name", metavar="NAME", nargs="?", help="only those of this model")
    versions.add_argument("--where", metavar="QUERY", help="versions for which this holds")
    versions.add_argument("--order-by", metavar="FIELDS", help="fields, each with asc or desc")
    versions.add_argument("--limit", metavar="N", type=whole_number, help="no more than N versions")
    show = command.add(commands, "show", "show a model, or a version of it", _show)
    history = command.add(
        commands, "history", "list the decisions about a model or a version, refused ones too", _history
    )
    for parser in (show, history):
        command.add_either(parser)


def _list(options: Namespace, store: Store) -> int:
    models = store.models
    for model in models:
        command.name_damage(model)
    if options.json:
        document.write([model_document.of_model(model) for model in models])
    elif models:
        columns = [
            draw.TableColumn("NAME", [model.name for model in models]),
            draw.TableColumn("VERSIONS", [f"{len(model.versions):,}" for model in models], right=True),
            draw.TableColumn("LATEST", [_latest(model) for model in models]),
            draw.TableColumn("PRODUCTION", [_in_production(model) for model in models]),
            draw.TableColumn("ALIASES", [_aliases(model) for model in models], rank=1),
        ]
        _show_table(columns)
    else:
        say("there is no model: tachograph model register RUN NAME makes one")
    return 0


def _latest(model: ModelRecord) -> str:
    return model.version("latest").version if model.versions else ""


def _in_production(model: ModelRecord) -> str:
    return ", ".join(version.version for version in model.versions if version.stage == "production")


def _aliases(model: ModelRecord) -> str:
    return ", ".join(
        f"{alias} {number}{' (protected)' * (alias in model.protected)}" for alias, number in model.aliases.items()
    )


def _versions(options: Namespace, store: Store) -> int:
    for model in store.models if options.name is None else [store.model(options.name)]:
        command.name_damage(model)
    versions = store.registry.versions(options.where, options.order_by, options.limit, options.name)
    if options.json:
        document.write([model_document.of_version(version) for version in versions])
    elif versions:
        _show_table(_of_versions(versions, draw.console()))
    else:
        say("no version is like that" if store.models else "there is no model: tachograph model register makes one")
    return 0


def _of_versions(versions: Sequence[VersionRecord], console: draw.Console) -> list[draw.TableColumn]:
    widest = runs.WIDEST if console.is_terminal else draw.UNBOUNDED
    values = runs.values_of([one.metrics for one in versions], [one.params for one in versions], widest)
    return [
        draw.TableColumn("VERSION", list(map(str, versions))),
        draw.TableColumn("STAGE", [wording.line(version.stage) for version in versions]),
        draw.TableColumn("APPROVAL", [version.approval for version in versions], styles=APPROVAL_STYLES),
        draw.TableColumn("ALIASES", [wording.line(", ".join(version.aliases)) for version in versions], rank=2),
        draw.TableColumn("REGISTERED", [wording.ago(version.registered) for version in versions], rank=2, right=True),
        draw.TableColumn("BY", [wording.line(version.by) for version in versions], rank=3),
        draw.TableColumn("RUN", [wording.line(version.run_id) for version in versions], rank=4),
        *values,
    ]


def _show_table(columns: Sequence[draw.TableColumn]) -> None:
    console = draw.console()
    draw.show(console, draw.table(draw.fitting(columns, console.width)))


# -- a model, a version --


def _show(options: Namespace, store: Store) -> int:
    of = command.either(store, options.which)
    command.name_damage(store.model(of.name))
    console = draw.console()
    if isinstance(of, VersionRecord):
        whole, header, found = model_document.of_whole_version(of), _version_header(of), _of_version(of, console)
    else:
        whole, header, found = model_document.of_whole_model(of), _model_header(of), _of_model(of, console)
    if options.json:
        document.write(whole)
        return 0
    draw.show(console, *header)
    for title, content in found:
        draw.section(console, title, *content)
    return 0


def _model_header(model: ModelRecord) -> Iterator[draw.Text]:
    yield draw.line((model.name, "bold"), f"  {wording.count(len(model.versions), 'version')}")
    if model.aliases:
        yield draw.line(("aliases  ", "dim"), _aliases(model))
    yield from _tags(model.tags)


def _of_model(model: ModelRecord, console: draw.Console) -> Iterator[tuple[str, Iterable[draw.Drawn]]]:
    if model.rules:
        yield (
            "Rules",
            [
                draw.line(wording.line(f"{rule['number']}  {rule['stage']} asks for {rule['rule']}"))
                for rule in model_document.of_rules(model)
            ],
        )
    if model.versions:
        yield "Versions", [draw.table(draw.fitting(_of_versions(model.versions, console), console.width))]
    if model.notes:
        yield "Notes", map(_note, model.notes)


def _version_header(version: VersionRecord) -> Iterator[draw.Text]:
    approval = (version.approval, APPROVAL_STYLES.get(version.approval, ""))
    yield draw.line((str(version), "bold"), f"  {wording.line(version.stage)}, ", approval)
    when = f"{wording.moment(version.registered)} ({wording.ago(version.registered)})"
    yield draw.line(f"registered {when} by {wording.line(version.by) or '?'}, of run {wording.line(version.run_id)}")
    if version.description:
        yield draw.line(wording.line(version.description))
    if version.aliases:
        yield draw.line(("aliases  ", "dim"), wording.line(", ".join(version.aliases)))
    yield from _tags(version.tags)


def _tags(tags: Mapping[str, str]) -> Iterator[draw.Text]:
    if tags:
        shown = (f"{wording.line(name)}={wording.line(value)}" for name, value in sorted(tags.items()))
        yield draw.line(("tags  ", "dim"), "  ".join(shown))


def _of_version(version: VersionRecord, console: draw.Console) -> Iterator[tuple[str, Iterable[draw.Drawn]]]:
    if version.metrics:
        yield (
            "Metrics",
            [sections.pairs({name: wording.number(value) for name, value in version.metrics.items()}, console)],
        )
    if version.params:
        yield "Params", sections.params(version.params, console)
    if version.datasets:
        columns = [
            draw.TableColumn("ROLE", [wording.line(data.role) for data in version.datasets]),
            draw.TableColumn("NAME", [wording.line(data.name) for data in version.datasets]),
            draw.TableColumn("DIGEST", [wording.digest(wording.line(data.digest)) for data in version.datasets]),
        ]
        yield "Data", [draw.table(draw.fitting(columns, console.width))]
    yield "Artifact", sections.artifacts([version.artifact], console)
    if version.checks:
        yield "Checks", map(_check, version.checks)
    if version.notes:
        yield "Notes", map(_note, version.notes)
    yield "History", _decisions(version.history)


def _check(check: Checked) -> draw.Text:
    result = ("passed", "green") if check.passed else ("failed", "bold red")
    detail = f"  {wording.line(check.detail)}" if check.detail else ""
    return draw.line(result, f"  {wording.line(check.name)}{detail}")


def _note(note: Noted) -> draw.Text:
    return draw.line((f"{_moment(note.at)} by {wording.line(note.by) or '?'}  ", "dim"), wording.line(note.text))


def _moment(at: float) -> str:
    when = wording.time(at)
    return "?" if when is None else wording.moment(when)


# -- decisions --


def _history(options: Namespace, store: Store) -> int:
    of = command.either(store, options.which)
    command.name_damage(store.model(of.name))
    if options.json:
        document.write([model_document.of_decision(decision) for decision in of.history])
    else:
        draw.show(draw.console(), *_decisions(of.history))
    return 0


def _decisions(decisions: Sequence[Known | UnknownDecision]) -> Iterator[draw.Text]:
    """A line for each: what was decided, or refused; who, from where and when."""
    width = len(str(decisions[-1].number)) if decisions else 0
    for decision in decisions:
        who = wording.line(f"{decision.by or '?'} on {decision.host or '?'}")
        yield draw.line(
            (f"{decision.number:>{width}}  {_moment(decision.at)} by {who}  ", "dim"),
            ("refused: ", "bold red") if decision.refused else "",
            command.words(decision),
            (wording.line(f": {'; '.join(decision.refused)}"), "red") if decision.refused else "",
        )
