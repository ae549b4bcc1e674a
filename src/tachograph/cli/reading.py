"""The store that a command reads."""

from __future__ import annotations

import functools
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing

from tachograph.cli.arguments import complain
from tachograph.store import Store, open_store


def with_store(command: Callable[[Namespace, Store], int]) -> Callable[[Namespace], int]:
    """A command that reads the store which ``--root`` names, or the local one."""

    @functools.wraps(command)
    def run(options: Namespace) -> int:
        with closing(open_store(options.root)) as store:
            return command(options, store)

    return run


def explain_nothing(store: Store) -> None:
    """Say why there is nothing to see, and what to do about it."""
    hint = "run a script with `tachograph exec train.py`, or call tachograph.autolog() in it"
    complain(f"nothing is recorded in {store.root} yet: {hint}")
