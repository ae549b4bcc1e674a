"""The command line: ``tachograph``, and the same as ``python -m tachograph``.

Each command is a module of this package with a docstring (its help), ``EXAMPLES``, ``configure(parser)`` and
``run(options)``, which returns the exit status: 0 = success, 1 = what was asked is not so, 2 = wrong usage. A command
reads options and prints; what it does lives in the packages below. Only the module of the command that is run is
imported.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from tachograph.cli import output
from tachograph.cli.arguments import Parser, UsageError
from tachograph.errors import Error, QueryError

COMMANDS = {
    "exec": "run a training script unchanged, recorded",
    "runs": "list runs",
    "show": "show a run, with its curves",
    "compare": "show what differs between runs",
    "tail": "follow a run live",
    "export": "write runs and their points as csv, jsonl or parquet",
    "compact": "write closed runs to Parquet tables",
    "verify": "check every journal and blob against its digests",
    "sync": "send runs to where they are not yet",
    "rm": "remove runs with their children",
    "gc": "delete kept files that nothing refers to any more, compress old journals",
    "model": "register models, decide about their versions, get them",
    "lineage": "show what something came of, or what came of it",
    "serve": "take recordings and answer questions, by HTTP",
    "token": "make, list and revoke the tokens that a server's clients show",
    "doctor": "say whether trainings would be recorded here, and if not, why",
}

# The exit statuses that shells have for programs that end by these signals.
INTERRUPTED = 130
CLOSED_PIPE = 141

_OVERVIEW = """\
usage: tachograph COMMAND ...

Records model training by itself.

commands:
{commands}

tachograph COMMAND --help says more of each, with examples; tachograph --version says which version this is.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name), and return its exit status.

    ``exec`` may not return: what the script raises, ``SystemExit`` too, goes through as it is.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["exec"]:
        from tachograph.cli import exec

        return exec.main(arguments[1:])
    return reported(arguments)


def reported(arguments: list[str]) -> int:
    """Run a command, and return its exit status. Errors that are meant for users become one line on standard error."""
    output.prepare()
    try:
        status = _run(arguments)
        output.flush()
    except SystemExit as stop:  # argparse has shown the help
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:  # as in `tachograph runs | head`: the reader has seen enough
        output.abandon()
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except RecursionError:
        output.complain("something that was recorded is nested too deep to be shown")
        return 1
    except (Error, OSError) as error:
        output.complain(error)
        return 2 if isinstance(error, UsageError | QueryError) else 1
    return status


def _run(arguments: list[str]) -> int:
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help", "help"):
        output.say_page(_overview())
        return 0 if arguments else 2
    if name in ("-V", "--version"):
        from tachograph import __version__

        output.say(f"tachograph {__version__}")
        return 0
    return command(name, rest)


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    return _OVERVIEW.format(commands="\n".join(f"  {name:{width}}{help}" for name, help in COMMANDS.items()))


def command(name: str, arguments: list[str]) -> int:
    """Run the command ``name``, and return its exit status."""
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else "tachograph --help lists what there is"
        raise UsageError(f"there is no command {name!r}: {hint}")
    module = importlib.import_module(f"tachograph.cli.{name}")
    parser = Parser(name, module)
    status: int = module.run(parser.read(arguments))
    return status
