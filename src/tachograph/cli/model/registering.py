"""Versions made and deleted."""

from __future__ import annotations

from argparse import Namespace

from tachograph.cli import output
from tachograph.cli.arguments import UsageError, pairs
from tachograph.cli.model import command
from tachograph.cli.output import complain, say
from tachograph.registry.numbers import BUMPS
from tachograph.store import document, model_document
from tachograph.store.store import Store


def configure(commands: command.Commands) -> None:
    """Add them."""
    register = command.add(commands, "register", "make an artifact of a run the next version of a model", _register)
    register.add_argument("run", metavar="RUN", help='id, beginning of an id, name, or "latest"')
    register.add_argument("name", metavar="NAME", help="the model, which may be new")
    register.add_argument("--artifact", metavar="A", default="model", help='which one of the run (default: "model")')
    number = register.add_mutually_exclusive_group()
    number.add_argument("--bump", choices=BUMPS, help="what goes up from the highest version (default: minor)")
    number.add_argument("--version", metavar="V", help="the number itself, like 1.2.0 or 2.0.0-rc.1")
    register.add_argument("--tag", metavar="KEY=VALUE", action="append", default=[], help="a label; several of these")
    register.add_argument("--description", metavar="TEXT", help="what is to be said of it")
    delete = command.add(commands, "delete", "delete a version; its number is never given again", _delete)
    command.add_version(delete)
    delete.add_argument("--yes", action="store_true", help="don't ask")
    command.add_reason(delete)


def _register(options: Namespace, store: Store) -> int:
    run = store.run(options.run)
    version = run.register_model(
        options.name, options.artifact, options.bump, options.version, pairs(options.tag), options.description
    )
    if options.json:
        document.write(model_document.of_version(version))
    else:
        say(str(version))
    return 0


def _delete(options: Namespace, store: Store) -> int:
    version = command.version(store, options.version)
    if not (options.yes or _is_confirmed(str(version))):
        complain("nothing was deleted")
        return 1
    version.delete(options.reason)
    if options.json:
        document.write({"name": version.name, "version": version.version, "deleted": True})
    else:
        say(f"{version} is deleted")
    return 0


def _is_confirmed(what: str) -> bool:
    if not output.can_ask():
        raise UsageError("there is no terminal to ask on: --yes deletes without asking")
    return output.answer(f"delete {what} for good? [y/N]").lower() in ("y", "yes")
