"""Tags and notes, of models and of versions."""

from __future__ import annotations

from argparse import Namespace

from tachograph.cli.arguments import pairs
from tachograph.cli.model import command
from tachograph.store.model_record import ModelRecord
from tachograph.store.store import Store
from tachograph.store.version_record import VersionRecord


def configure(commands: command.Commands) -> None:
    """Add them."""
    tag = command.add(commands, "tag", "label a model or a version", _tag)
    command.add_either(tag)
    tag.add_argument("tags", metavar="KEY=VALUE", nargs="+", help="a label; KEY= takes it away")
    note = command.add(commands, "note", "add a remark on a model or a version", _note)
    command.add_either(note)
    note.add_argument("text", metavar="TEXT")


def _tag(options: Namespace, store: Store) -> int:
    tags = {name: value or None for name, value in pairs(options.tags).items()}
    of = command.either(store, options.which)
    of.tag(tags)
    return command.tell(options, store, of, f"{_named(of)} is tagged")


def _note(options: Namespace, store: Store) -> int:
    of = command.either(store, options.which)
    of.note(options.text)
    return command.tell(options, store, of, f"{_named(of)} has the note")


def _named(of: ModelRecord | VersionRecord) -> str:
    return str(of) if isinstance(of, VersionRecord) else of.name
