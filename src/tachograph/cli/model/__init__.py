"""Register models, decide about their versions, find them and get their files.

RUN is an id, a beginning of one that no other run has, a name that no other run has, or "latest". NAME@V is a version
of the model NAME: V is its number, an alias, a stage that has one version, or "latest", the highest release. A run's
artifact becomes a version, which never changes; what is decided about it is on record, with who, when and why, refused
decisions too: such a one says what the rules ask for, and exits with 1.

QUERY is the language of `tachograph runs`, of metrics.NAME and params.NAME as they were when the version was
registered, tags.NAME of the version, and name, version, stage, approval, run, by, registered.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from tachograph.cli import with_store
from tachograph.cli.arguments import Subcommand, UsageError
from tachograph.cli.model import comparing, deciding, deploying, getting, labelling, listing, registering, ruling
from tachograph.errors import Error
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph model register latest credit-risk --bump minor --tag team=loans
  tachograph model rule credit-risk production "metrics.val_acc >= 0.9"
  tachograph model promote credit-risk@1.2.0 production --if "metrics.val_loss < 0.3"
  tachograph model deployed credit-risk@production eu-prod --url https://eu.example.com/score
  tachograph model get credit-risk@production --to serving/
  tachograph model diff credit-risk@production credit-risk@latest
  tachograph model versions --where "stage = 'production' and metrics.val_acc > 0.9" --json
"""
GROUPS = (registering, listing, deciding, labelling, ruling, deploying, getting, comparing)


def configure(parser: ArgumentParser) -> None:
    """Add its commands and their options."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Subcommand)
    for group in GROUPS:
        group.configure(commands)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """0; 1 for `check` where something is wanting. What is unknown or refused raises."""
    try:
        status: int = options.act(options, store)
    except Error:
        raise
    except ValueError as error:  # a name, a number or a stage that can't be one
        raise UsageError(str(error)) from error
    return status
