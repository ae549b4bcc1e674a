"""Check every journal and every blob against its checksums.

Reported is each line that can't be read, each block of a journal that no longer matches its checksum, each stretch of
events that is gone, each kept file that is missing or no longer what its digest says, each decision about a model that
was changed or is gone. A last line that was cut off
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
    """Add its options."""
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """0 where nothing is damaged, else 1."""
    findings = check(local_root(options))
    if options.json:
        write(findings.document())
    else:
        _say(findings)
    return 1 if findings.damage else 0


def _say(findings: Findings) -> None:
    for damage in findings.damage:
        say(str(damage) if damage.line else f"{damage.path}: {damage.reason}")
    checked = [
        wording.count(findings.runs, "run"),
        wording.count(findings.events, "event"),
        wording.count(findings.blobs, "blob"),
    ]
    checked += [f"{wording.count(findings.decisions, 'decision')} about models"] if findings.decisions else []
    verdict = wording.count(len(findings.damage), "damage") if findings.damage else "no damage"
    torn = f" ({wording.count(findings.torn, 'line')} cut off when a writer was killed)" if findings.torn else ""
    say(f"{', '.join(checked)} in {findings.root}: {verdict}{torn}")
