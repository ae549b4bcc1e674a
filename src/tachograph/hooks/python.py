"""Listening to Python itself: which command lines are parsed, and how random numbers are seeded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tachograph.capture import parsed_arguments, seeds
from tachograph.hooks import session
from tachograph.hooks.call import Call
from tachograph.hooks.patch import Hooks
from tachograph.hooks.watch import Watcher
from tachograph.record import open_runs
from tachograph.runtime import import_hooks


def listen(hooks: Hooks) -> None:
    """Note what is parsed and seeded from now on, and what was before."""
    parsed_arguments.look_back(open_runs.here())
    seeds.look_back()
    for module, name, wrapper in _WRAPPERS:
        hook_when_imported(hooks, module, name, wrapper)


def hook_when_imported(hooks: Hooks, module: str, name: str, wrapper: Callable[[Call], Watcher]) -> None:
    """Watch each call of ``name``, which may lie in a class (``Class.method``), from when ``module`` is imported."""
    hooks.native(import_hooks.when_imported(module, partial(_hook, hooks, module, name, wrapper)))


def _hook(hooks: Hooks, module: str, name: str, wrapper: Callable[[Call], Watcher]) -> None:
    owner: Any = sys.modules[module]
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    if hooks.on:
        hooks.around(owner, name, wrapper)


def _parsed(call: Call) -> Watcher:
    result = yield
    parsed_arguments.parsed(call.instance, call.argument("args"), result[0], open_runs.here())


def _seeded(call: Call, library: str) -> Watcher:
    arguments = [*call.args, *call.kwargs.values()]
    yield
    if arguments and arguments[0] is not None and session.current() is None:  # a training that seeds does so for itself
        seeds.note(library, arguments[0])


def _seeded_random(call: Call) -> Watcher:
    return _seeded(call, "random")


def _seeded_numpy(call: Call) -> Watcher:
    return _seeded(call, "numpy")


_WRAPPERS: tuple[tuple[str, str, Callable[[Call], Watcher]], ...] = (
    ("argparse", "ArgumentParser.parse_known_args", _parsed),
    ("random", "seed", _seeded_random),
    ("numpy.random", "seed", _seeded_numpy),
)
