"""Check every journal and every blob against its checksums.

Reported is each line that can't be read, each block of a journal that no longer matches its checksum, each stretch of
events that is gone, each kept file that is missing or no longer what its digest says. A last line that was cut off
when its writer was killed is no damage.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from tachograph import wording
from tachograph.cli.arguments import add_json, add_root, local_root
from tachograph.cli.output import say
from tachograph.store.document import write
from tachograph.upkeep.verify import Findings, check

EXAMPLES = """\
  tachograph verify
  tachograph verify --root /mnt/team/.tachograph --json
"""


def configure(parser: ArgumentParser) -> None:
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """0 where nothing is damaged, else 1."""
    found = check(local_root(options))
    if options.json:
        write(found.document())
    else:
        _say(found)
    return 1 if found.damage else 0


def _say(found: Findings) -> None:
    for damage in found.damage:
        say(str(damage) if damage.line else f"{damage.path}: {damage.reason}")
    checked = [
        wording.count(found.runs, "run"),
        wording.count(found.events, "event"),
        wording.count(found.blobs, "blob"),
    ]
    verdict = wording.count(len(found.damage), "damage") if found.damage else "no damage"
    torn = f" ({wording.count(found.torn, 'line')} cut off when a writer was killed)" if found.torn else ""
    say(f"{', '.join(checked)} in {found.root}: {verdict}{torn}")
