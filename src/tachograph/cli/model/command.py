"""What the commands about models share: how they are added, and how a model or a version is named."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable
from typing import TypeAlias

from tachograph import wording
from tachograph.cli.arguments import UsageError, add_json, add_root
from tachograph.cli.output import complain, say
from tachograph.registry import decisions
from tachograph.store import document, model_document
from tachograph.store.model_record import ModelRecord
from tachograph.store.store import Store
from tachograph.store.version_record import VersionRecord

Commands: TypeAlias = "_SubParsersAction[ArgumentParser]"
Act: TypeAlias = Callable[[Namespace, Store], int]


def add(commands: Commands, name: str, help: str, act: Act) -> ArgumentParser:
    """Add a command that ``act`` carries out."""
    parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False)
    parser.set_defaults(act=act)
    add_root(parser)
    add_json(parser)
    return parser


def add_version(parser: ArgumentParser) -> None:
    """The argument that names a version."""
    parser.add_argument("version", metavar="NAME@V", help='a version: its number, an alias, a stage or "latest"')


def add_either(parser: ArgumentParser) -> None:
    """The argument that names a model or a version of it."""
    parser.add_argument("which", metavar="NAME[@V]", help="a model, or a version of it")


def add_reason(parser: ArgumentParser) -> None:
    """The option that says why."""
    parser.add_argument("--reason", metavar="TEXT", help="why, for the record")


def version(store: Store, key: str) -> VersionRecord:
    """The version that NAME@V means. Raises ``NotFound``, and UsageError for a model alone."""
    if "@" not in key:
        raise UsageError(f"say which version: {shown(key)}@latest, for example")
    return store.registry.find(key)


def either(store: Store, key: str) -> ModelRecord | VersionRecord:
    """The model or the version that NAME[@V] means. Raises ``NotFound``."""
    return store.registry.find(key) if "@" in key else store.model(key)


def shown(text: str) -> str:
    """A text that somebody typed, for an error: cut where it is long."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def tell(options: Namespace, store: Store, of: ModelRecord | VersionRecord, sentence: str) -> int:
    """Say that something was decided; or for programs what the model or the version is now."""
    if not options.json:
        say(sentence)
    elif isinstance(of, VersionRecord):
        document.write(model_document.of_version(store.model(of.name).version(of.version)))
    else:
        document.write(model_document.of_whole_model(store.model(of.name)))
    return 0


def name_damage(model: ModelRecord) -> None:
    """Name the decisions that can't be carried out, as what is shown lacks them."""
    for number, what in model.damage.items():
        complain(f"decision {number} about model {model.name}: {what}")


def words(decision: decisions.Known | decisions.UnknownDecision) -> str:
    """What was decided, on a line."""
    match decision:
        case decisions.Registered():
            text = f"registered {decision.version}, of run {decision.run}"
        case decisions.Staged():
            condition = f", if {decision.condition}" if decision.condition else ""
            text = f"{decision.version} {'back ' * decision.rollback}to {decision.stage}{condition}"
        case decisions.Aliased(version=None):
            text = f"alias {decision.alias} removed"
        case decisions.Aliased():
            text = f"alias {decision.alias} for {decision.version}"
        case decisions.Protected():
            text = f"alias {decision.alias} {'protected' if decision.on else 'no longer protected'}"
        case decisions.Tagged():
            text = f"tags{_of(decision.version)}: {', '.join(map(_tag, decision.tags.items()))}"
        case decisions.Noted():
            text = f"note{_of(decision.version)}: {decision.text}"
        case decisions.Ruled():
            text = f"{decision.stage} asks for {decision.rule}"
        case decisions.Unruled():
            text = f"rule {decision.rule} removed"
        case decisions.Checked():
            detail = f": {decision.detail}" if decision.detail else ""
            text = f"check {decision.name} of {decision.version} {'passed' if decision.passed else 'failed'}{detail}"
        case decisions.Deployed():
            url = f", {decision.url}" if decision.url else ""
            text = f"{decision.version} {decision.status} in {decision.environment}{url}"
        case decisions.Acknowledged():
            text = f"lost: {', '.join(map(str, decision.lost))}"
        case decisions.Approval() | decisions.Rejection() | decisions.Deleted():
            text = f"{decisions.kind(decision)} {decision.version}"
        case _:
            text = decisions.kind(decision)
    return wording.line(f"{text} ({decision.reason})" if decision.reason else text)


def _of(version: str | None) -> str:
    return "" if version is None else f" of {version}"


def _tag(item: tuple[str, str | None]) -> str:
    name, value = item
    return f"{name} removed" if value is None else f"{name}={value}"
