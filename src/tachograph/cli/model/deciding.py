"""What is decided about a version: approval, stages, aliases."""

from __future__ import annotations

from argparse import Namespace

from tachograph.cli.arguments import UsageError
from tachograph.cli.model import command
from tachograph.errors import NotFound
from tachograph.store.model_record import ModelRecord
from tachograph.store.store import Store
from tachograph.store.version_record import VersionRecord


def configure(commands: command.Commands) -> None:
    """Add them."""
    approve = command.add(commands, "approve", "say that a version is good", _approve)
    reject = command.add(commands, "reject", "say that a version is not good", _reject)
    promote = command.add(commands, "promote", "bring a version to a stage, if that stage's rules are kept", _promote)
    rollback = command.add(commands, "rollback", "bring back the version that was in a stage before", _rollback)
    alias = command.add(commands, "alias", "let an alias stand for a version", _alias)
    acknowledge = command.add(commands, "acknowledge", "go on without decisions that are lost", _acknowledge)
    acknowledge.add_argument("name", metavar="NAME")
    for parser in (approve, reject, promote):
        command.add_version(parser)
    promote.add_argument("stage", metavar="STAGE", help="development, staging, production or archived")
    promote.add_argument("--if", dest="condition", metavar="QUERY", help="only if this holds, too")
    rollback.add_argument("name", metavar="NAME")
    rollback.add_argument("stage", metavar="STAGE")
    for parser in (approve, reject, promote, rollback, acknowledge):
        command.add_reason(parser)
    command.add_either(alias)
    alias.add_argument("alias", metavar="ALIAS", help='like "champion"')
    change = alias.add_mutually_exclusive_group()
    change.add_argument("--remove", action="store_true", help="let it stand for nothing")
    change.add_argument(
        "--protect", action="store_true", help="let it move only to versions that keep the rules of production"
    )
    change.add_argument("--unprotect", action="store_true", help="let it move freely again")


def _approve(options: Namespace, store: Store) -> int:
    version = command.version(store, options.version)
    version.approve(options.reason)
    return command.tell(options, store, version, f"{version} is approved by you")


def _reject(options: Namespace, store: Store) -> int:
    version = command.version(store, options.version)
    version.reject(options.reason)
    return command.tell(options, store, version, f"{version} is rejected")


def _promote(options: Namespace, store: Store) -> int:
    version = command.version(store, options.version)
    version.promote(options.stage, options.condition, options.reason)
    return command.tell(options, store, version, f"{version} is in {options.stage}")


def _rollback(options: Namespace, store: Store) -> int:
    version = store.model(options.name).rollback(options.stage, options.reason)
    return command.tell(options, store, version, f"{version} is in {options.stage} again")


def _acknowledge(options: Namespace, store: Store) -> int:
    model = store.model(options.name)
    lost = ", ".join(map(str, model.acknowledge(options.reason)))
    return command.tell(options, store, model, f"{model.name} goes on without what was decided in {lost}")


def _alias(options: Namespace, store: Store) -> int:
    which = command.either(store, options.which)
    model, alias = store.model(which.name), options.alias
    if options.remove or options.unprotect:
        _check_stands(alias, model, which)
        if options.remove:
            model.remove_alias(alias)
            return command.tell(options, store, model, f"alias {alias} of {model.name} stands for nothing")
        model.protect(alias, on=False)
        return command.tell(options, store, model, f"alias {alias} of {model.name} is no longer protected")
    if isinstance(which, VersionRecord):
        which.alias(alias)
    elif not options.protect:
        raise UsageError(f"say which version: {which.name}@latest, for example")
    if options.protect:
        model.protect(alias)
        return command.tell(options, store, model, f"alias {alias} of {model.name} is protected")
    return command.tell(options, store, which, f"{alias} stands for {which}")


def _check_stands(alias: str, model: ModelRecord, which: ModelRecord | VersionRecord) -> None:
    """Raise ``NotFound`` where a version was named for which the alias does not stand."""
    if isinstance(which, VersionRecord) and model.aliases.get(alias) != which.version:
        raise NotFound(f"{which} has no alias {command.shown(alias)}")
