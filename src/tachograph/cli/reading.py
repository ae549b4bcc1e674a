"""The store that a command reads, and the runs in it that its arguments name."""

from __future__ import annotations

from argparse import Namespace

from tachograph.cli.arguments import complain
from tachograph.store import Store, open_store


def store(options: Namespace) -> Store:
    """The store that ``--root`` names, or the local one."""
    return open_store(options.root)


def explain_nothing(store: Store) -> None:
    """Say why there is nothing to see, and what to do about it."""
    hint = "run a script with `tachograph exec train.py`, or call tachograph.autolog() in it"
    complain(f"nothing is recorded in {store.root} yet: {hint}")
