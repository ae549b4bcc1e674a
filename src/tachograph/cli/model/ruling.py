"""What stages ask of versions, and whether a version has it."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tachograph import wording
from tachograph.cli.arguments import UsageError, whole_number
from tachograph.cli.model import command
from tachograph.cli.output import say
from tachograph.cli.view import draw
from tachograph.registry import names
from tachograph.store import document, model_document
from tachograph.store.store import Store


def configure(commands: command.Commands) -> None:
    """Add them."""
    rule = command.add(commands, "rule", "let a stage ask something of versions", _rule)
    rule.add_argument("name", metavar="NAME")
    rule.add_argument("stage", metavar="STAGE", nargs="?", help="the stage that asks, or environment:NAME")
    rule.add_argument("query", metavar="QUERY", nargs="?", help="what has to hold for a version")
    kinds = rule.add_mutually_exclusive_group()
    kinds.add_argument("--approvals", metavar="N", type=whole_number, help="so many people have to approve")
    kinds.add_argument("--no-failed-checks", action="store_true", help="none of its checks failed")
    kinds.add_argument(
        "--not-by-author", action="store_true", help="whoever registered it neither approves nor promotes"
    )
    kinds.add_argument("--list", action="store_true", help="only list what the stages ask")
    kinds.add_argument("--remove", metavar="N", type=whole_number, help="let the rule of that number no longer hold")
    check = command.add(commands, "check", "say what is wanting for a version to be brought to a stage", _check)
    command.add_version(check)
    help = f"the stage (default: {names.PROTECTING})"
    check.add_argument("stage", metavar="STAGE", nargs="?", default=names.PROTECTING, help=help)
    check.add_argument("--if", dest="condition", metavar="QUERY", help="ask for this, too")


def _rule(options: Namespace, store: Store) -> int:
    model = store.model(options.name)
    stage, environment = _asking(options.stage)
    if options.list or options.remove is not None:
        if options.query is not None:
            raise UsageError("--list and --remove take no QUERY (tachograph model rule --help says more)")
        if options.remove is None:
            return _list(model_document.of_rules(model, options.stage), options)
        model.remove_rule(options.remove)
        return command.tell(options, store, model, f"rule {options.remove} of {model.name} no longer holds")
    if options.stage is None:
        raise UsageError(f"say which stage asks: {', '.join(names.STAGES)} (--list lists the rules)")
    number = model.rule(
        stage, options.query, environment=environment, approvals=options.approvals,
        no_failed_checks=options.no_failed_checks, not_by_author=options.not_by_author,
    )  # fmt: skip
    rule = store.model(model.name).rules[number][1]
    return command.tell(
        options, store, model, f"{options.stage} asks for {wording.line(str(rule))}: rule {number} of {model.name}"
    )


def _asking(text: str | None) -> tuple[str | None, str | None]:
    """The stage or the environment that asks. Raises ValueError."""
    prefix = names.asking_environment("")
    if text is not None and text.startswith(prefix):
        return None, names.environment(text.removeprefix(prefix))
    return (None if text is None else names.stage(text)), None


def _list(rules: list[dict[str, Any]], options: Namespace) -> int:
    if options.json:
        document.write(rules)
    elif rules:
        columns = [
            draw.TableColumn("RULE", [str(rule["number"]) for rule in rules], right=True),
            draw.TableColumn("STAGE", [wording.line(rule["stage"]) for rule in rules]),
            draw.TableColumn("ASKS FOR", [wording.line(rule["rule"]) for rule in rules]),
        ]
        draw.show(draw.console(), draw.table(columns))
    else:
        say("there is no rule")
    return 0


def _check(options: Namespace, store: Store) -> int:
    version = command.version(store, options.version)
    wanting = version.unmet(options.stage, options.condition)
    if options.json:
        rules = model_document.of_rules(store.model(version.name), options.stage)
        document.write(
            {
                "name": version.name, "version": version.version, "stage": options.stage, "met": not wanting,
                "wanting": wanting, "rules": rules,
            }
        )  # fmt: skip
    elif wanting:
        for why in wanting:
            say(wording.line(why))
    else:
        say(f"{version} has all that {options.stage} asks for")
    return 1 if wanting else 0
