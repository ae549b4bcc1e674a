"""Where versions run."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tachograph import wording
from tachograph.cli.model import command
from tachograph.cli.output import say
from tachograph.cli.view import draw
from tachograph.registry import names
from tachograph.registry.decisions import Deployed
from tachograph.store import document, model_document
from tachograph.store.store import Store


def configure(commands: command.Commands) -> None:
    """Add them."""
    deployed = command.add(commands, "deployed", "put on record where a version runs", _deployed)
    command.add_version(deployed)
    deployed.add_argument("environment", metavar="ENVIRONMENT", help='like "eu-prod"')
    deployed.add_argument("--url", metavar="URL", help="where it answers")
    deployed.add_argument(
        "--status", choices=names.STATUSES, default="live", help="failed: tried in vain; retired: it no longer runs"
    )
    command.add_reason(deployed)
    where = command.add(commands, "where", "say what runs where, since when, and what ran before", _where)
    where.add_argument("name", metavar="NAME")


def _deployed(options: Namespace, store: Store) -> int:
    version = command.version(store, options.version)
    version.deployed(options.environment, options.url, options.status, options.reason)
    verb = {"live": "runs in", "failed": "was tried in vain in", "retired": "no longer runs in"}[options.status]
    return command.tell(options, store, version, f"{version} {verb} {options.environment}")


def _where(options: Namespace, store: Store) -> int:
    model = store.model(options.name)
    command.name_damage(model)
    running = list(model.running.values())
    if options.json:
        document.write(model_document.of_running(model))
    elif running:
        now = [each.deployed for each in running]
        columns = [
            draw.TableColumn("ENVIRONMENT", [wording.line(each.environment) for each in now]),
            draw.TableColumn("VERSION", [wording.line(each.version) for each in now]),
            draw.TableColumn("SINCE", [_when(each) for each in now]),
            draw.TableColumn("BY", [wording.line(each.by) for each in now]),
            draw.TableColumn(
                "BEFORE", ["" if each.before is None else wording.line(each.before.version) for each in running]
            ),
            draw.TableColumn("URL", [wording.line(each.url or "") for each in now], rank=1),
        ]
        draw.show(draw.console(), draw.table(columns))
    else:
        say(f"{model.name} runs nowhere: tachograph model deployed {model.name}@V ENVIRONMENT puts on record where")
    return 0


def _when(deployed: Deployed) -> str:
    at: Any = wording.time(deployed.at)
    return "" if at is None else wording.moment(at)
