"""Show what something came of: a version of a model, a run, a file, back to its data and its code. With --downstream,
what came of it: which runs, models and deployments a data set has gone into.

NODE is NAME@VERSION, a run (an id, a beginning of one, a name, or "latest"), or one of dataset:DIGEST, code:COMMIT,
artifact:DIGEST, run:RUN, version:NAME@V, deployment:NAME/ENVIRONMENT, check:NAME@V/CHECK. The beginning of a digest or
of a commit is enough.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from tachograph.cli import with_store
from tachograph.cli.arguments import add_json, add_root, whole_number
from tachograph.cli.output import say
from tachograph.lineage import FORMATS, written
from tachograph.store import document
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph lineage credit-risk@production
  tachograph lineage dataset:9f86d081884c --downstream
  tachograph lineage latest --format dot | dot -Tsvg > lineage.svg
  tachograph lineage code:1a2b3c4 --downstream --json | jq -r '.nodes[] | select(.kind == "version") | .id'
"""
TREE, JSON = "tree", "json"


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("node", metavar="NODE", help="what to start from: NAME@VERSION, a run, dataset:DIGEST ...")
    parser.add_argument("--downstream", action="store_true", help="show what came of it, not what it came of")
    parser.add_argument("--depth", metavar="N", type=whole_number, help="go so many steps at most (default: all)")
    choices = [TREE, JSON, *(name for name in FORMATS if name != TREE)]
    parser.add_argument("--format", choices=choices, default=TREE, help="how to write it (default: tree)")
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """Always 0."""
    lineage = store.lineage(options.node, "down" if options.downstream else "up", options.depth)
    if options.json or options.format == JSON:
        document.write(lineage.plain())
    else:
        for line in written(lineage, options.format):
            say(line)
    return 0
