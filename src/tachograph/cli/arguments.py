"""How arguments are read, and how wrong ones are answered: with one line."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable
from types import ModuleType
from typing import NoReturn

from tachograph.errors import Error


class UsageError(Error):
    """The command was not called as it can be."""


class Parser(ArgumentParser):
    """The arguments of the command ``name``, as its module describes them."""

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(
            prog=f"tachograph {name}",
            description=module.__doc__,
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.configure(self)

    def error(self, message: str) -> NoReturn:
        """Raise what is shown as one line; argparse itself would add the whole usage."""
        raise UsageError(f"{message} ({self.prog} --help says more)")


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """``key=value`` texts as a mapping."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"a tag is written key=value, got {text!r}")
        found[key] = value
    return found


def complain(error: object) -> None:
    """Say what is wrong, on one line."""
    print("tachograph:", " ".join(str(error).split()), file=sys.stderr)
