"""Opening the store that a command reads, and showing what it waits for."""

from __future__ import annotations

import functools
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from tachograph import wording
from tachograph.cli.arguments import existing
from tachograph.cli.output import Status, complain
from tachograph.store.local import FolderQuestions
from tachograph.store.store import Store, open_observed

PATIENCE = 1.0  # seconds before it is shown that journals are read


def with_store(command: Callable[[Namespace, Store], int]) -> Callable[[Namespace], int]:
    """A command that reads the store which ``--root`` names, and which must be there, or the local one."""

    @functools.wraps(command)
    def run(options: Namespace) -> int:
        with (
            _shown() as on_read,
            _told_while_waiting() as on_wait,
            closing(open_observed(options.root, on_read, on_wait)) as store,
        ):
            if options.root:
                check(store)
            return command(options, store)

    return run


def check(store: Store) -> None:
    """Raise NotFound where a store's folder is not there. (The mirror of a bucket is made when the store is asked.)"""
    if type(store.questions) is FolderQuestions:
        existing(store.root)


def name_unreadable(store: Store) -> bool:
    """Name what can't be read in the store, as a run that is not shown isn't gone; whether there is anything."""
    unreadable = store.questions.unreadable()
    for path, reason in unreadable:
        complain(f"{path}: {reason}")
    return bool(unreadable)


@contextmanager
def _told_while_waiting() -> Iterator[Callable[[str], None]]:
    """While a server reads what is new before it answers, say so: on a terminal how far it is, elsewhere once."""
    status, told = Status(), 0

    def waiting(why: str) -> None:
        nonlocal told
        told += 1
        status.show(why)
        if told == 1 and not status.is_terminal:
            complain(why)

    try:
        yield waiting
    finally:
        status.clear()


@contextmanager
def _shown() -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many bytes of journals were read, once that takes a second. After an interrupt the next
    command continues from there."""
    began, total, status = time.monotonic(), 0, Status()

    def on_read(size: int) -> None:
        nonlocal total
        total += size
        if time.monotonic() - began > PATIENCE:
            status.show(f"reading what is new: {wording.size(total)}")

    try:
        yield on_read
    finally:
        status.clear()


def explain_nothing(store: Store) -> None:
    """Say that nothing is recorded yet, and how to change that."""
    hint = "run a script with `tachograph exec train.py`, or call tachograph.autolog() in it"
    complain(f"nothing is recorded in {store.name} yet: {hint}")
