"""Run a training script unchanged, with autolog on.

The script sees what python itself would give it, and its output, errors and exit status are its own. Whatever stands
behind the script's name belongs to the script.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from types import CodeType

from tachograph.cli import launch
from tachograph.cli.arguments import Parser, UsageError, pairs
from tachograph.cli.output import complain
from tachograph.record.start import check_sinks, check_text

USAGE = "tachograph exec [options] script.py [...]\n       tachograph exec [options] -m module [...]"
EXAMPLES = """\
  tachograph exec train.py --epochs 10
  tachograph exec --experiment churn --name baseline --tag data=2026-10 train.py
  tachograph exec --sink https://tracker.example.org -m my_package.train --lr 0.1
  torchrun --nproc-per-node 2 -m tachograph exec train.py
  python -O -m tachograph exec train.py
"""


def configure(parser: ArgumentParser) -> None:
    """Add the options that may stand before the script."""
    parser.usage = USAGE
    parser.add_argument("--experiment", metavar="E", help="experiment that the runs belong to")
    parser.add_argument("--name", metavar="N", help="name of the runs")
    parser.add_argument("--sink", metavar="URL", action="append", help="where to send the runs, too; can be repeated")
    parser.add_argument("--tag", metavar="KEY=VALUE", action="append", default=[], help="a label; can be repeated")
    parser.add_argument("-m", dest="is_module", action="store_true", help="what follows is a module, as for python -m")


def main(arguments: list[str]) -> int:
    """Run the script, and return 0 when it comes to its end. What it raises goes through, as under python itself."""
    try:
        code = _prepare(arguments)
    except UsageError as error:
        complain(error)
        return 2
    launch.run(code)
    return 0


def _prepare(arguments: list[str]) -> CodeType:
    """Switch recording on, and load the program; its code. Raises UsageError."""
    # Before the script's folder is on the path: what we import should not be found there.
    from tachograph.hooks import autolog

    own_options, program_line = _split(arguments)
    parser = Parser("exec", sys.modules[__name__])
    options = parser.parse_args(own_options)
    if not program_line:
        parser.error("name a script to run, or -m and a module")
    tags = pairs(options.tag)
    _set_up(options)
    program = launch.Program(program_line[0], program_line[1:], options.is_module)
    program.enter()
    autolog.autolog(tags=tags)
    autolog.run_name(options.name)
    return program.load()


def _set_up(options: Namespace) -> None:
    """Set experiment and sinks as settings, so that they also count for runs that the script itself opens, and in its
    child processes."""
    try:
        check_text(experiment=options.experiment, name=options.name)
        check_sinks(options.sink)
    except ValueError as error:
        raise UsageError(error) from error
    if options.experiment:
        os.environ["TACHOGRAPH_EXPERIMENT"] = options.experiment
    if options.sink:
        os.environ["TACHOGRAPH_SINKS"] = ",".join(url.replace(",", "%2C") for url in options.sink)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options of this command, and the program with its arguments, which may look like such options."""
    end = 0
    while end < len(arguments) and arguments[end].startswith("-"):
        if arguments[end] in ("-m", "--"):
            end += 1
            break
        end += 1 if "=" in arguments[end] or arguments[end] in ("-h", "--help") else 2
    return arguments[:end], arguments[end:]
