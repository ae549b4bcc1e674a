"""The program's own command line, as ``argparse`` or a plug-in parsed it: parameters of the run that is open, else of
those that open later in the same program. Filled by the hooks of autolog.

Libraries parse, too: Hydra and IPython their own options, others a string of theirs. What counts is parsed by code of
the user's, and is the command line, or what is left of it. In a notebook, which has none, it is any list.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Protocol

from tachograph import guard
from tachograph.runtime import notebooks, stack_frames

latest: dict[str, Any] = {}  # for runs that open later
_parsed_in: object = None  # the notebook's cell in which they were parsed


class OpenRun(Protocol):
    """A run that is open."""

    rank: int
    recorder: Any


def parsed(parser: object, strings: object, namespace: object, run: OpenRun | None) -> None:
    """``parser`` has parsed ``strings`` (None for the command line) into ``namespace``, while ``run`` is open."""
    if _is_own(strings) and _is_called_by_user(parser):
        note(vars(namespace), run)


def note(arguments: Mapping[str, Any], run: OpenRun | None) -> None:
    """The command line was parsed while ``run`` is open (None where no run is), and ``arguments`` came out."""
    from tachograph import values

    params, _ = values.params(arguments)
    if run is not None and run.rank == 0:
        run.recorder.log_arguments(params)
        return
    _remember(params)


def _remember(params: Mapping[str, Any]) -> None:
    """For the runs to come: of a notebook until a later cell parses anew, of a script that a cell runs until that has
    ended."""
    global _parsed_in
    cell = notebooks.current()
    if cell != _parsed_in:
        latest.clear()
        _parsed_in = cell
    if notebooks.runs_script() and not latest:
        notebooks.at_end(lambda error: latest.clear())
    latest.update(params)


def look_back(run: OpenRun | None) -> None:
    """Note what was parsed before anybody listened: what the main module, or a function that is running, holds."""
    argparse = sys.modules.get("argparse")
    if argparse is None or latest:
        return
    main = vars(sys.modules["__main__"])
    for variables in [main, *_variables_of_user()]:
        for name, value in list(variables.items()):
            if isinstance(value, argparse.Namespace) and not name.startswith("_"):  # IPython's history
                note(vars(value), run)


def _variables_of_user() -> list[dict[str, Any]]:
    return [
        stack_frames.variables(frame)
        for frame in stack_frames.outward(sys._getframe(1))
        if _is_users(frame.f_globals) and frame.f_code.co_name != "<module>"
    ]


def _is_own(strings: object) -> bool:
    """Whether that is the command line, or a part of it; in a notebook any list."""
    if strings is None or notebooks.is_own_code():
        return True
    if not isinstance(strings, Sequence):
        return False
    return not Counter(map(guard.shown, strings)) - Counter(sys.argv[1:])


def _is_called_by_user(parser: object) -> bool:
    """Whether the call comes from the user's code, perhaps by way of the parser's own methods."""
    classes = type(parser).__mro__
    methods = {getattr(method, "__code__", None) for owner in classes for method in list(vars(owner).values())}
    for frame in stack_frames.outward(sys._getframe(1)):
        if not guard.is_ours(frame.f_code.co_filename) and frame.f_code not in methods:
            return _is_users(frame.f_globals)
    return False


def _is_users(namespace: Mapping[str, Any]) -> bool:
    """Whether a module is the user's: neither of the standard library, nor installed, nor ours."""
    name, origin = namespace.get("__name__"), namespace.get("__file__")
    if name == "__main__":
        return True
    if not isinstance(name, str) or not isinstance(origin, str) or guard.is_ours(origin):
        return False
    return not {"site-packages", "dist-packages"} & set(PurePath(origin).parts) and (
        name.partition(".")[0] not in sys.stdlib_module_names
    )
