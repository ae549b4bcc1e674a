"""Reading the arguments of commands. Wrong ones are answered with one line."""

from __future__ import annotations

from argparse import PARSER, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from tachograph.errors import Error, NotFound
from tachograph.printable import decoded


class UsageError(Error):
    """The command was called in a wrong way: the exit status is 2."""


class Arguments(ArgumentParser):
    """A parser whose arguments are names, which are text, unless their type is :func:`path_or_url`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, decoded)

    def error(self, message: str) -> NoReturn:
        """Raise what is shown in one line; argparse itself would add the whole usage."""
        raise UsageError(f"{message} ({self.prog} --help says more)")


class Parser(Arguments):
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

    def read(self, arguments: list[str]) -> Namespace:
        """The arguments. Options may stand before, between and behind the others."""
        has_commands = any(action.nargs == PARSER for action in self._actions)
        return self.parse_args(arguments) if has_commands else self.parse_intermixed_args(arguments)


class Subcommand(Arguments):
    """The parser of a command below another one: its options, too, may stand before, between and behind the others."""

    _is_inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Called by the parser above, and again by each of the passes in which argparse does this."""
        if self._is_inside:
            return super().parse_known_args(args, namespace)
        self._is_inside = True
        return self.parse_known_intermixed_args(args, namespace)


def add_root(parser: ArgumentParser) -> None:
    """The option that says which store to read."""
    help = "the store: a folder or a URL (default: TACHOGRAPH_DIR, ./.tachograph)"
    parser.add_argument("--root", metavar="DIR", type=path_or_url, help=help)


def add_json(parser: ArgumentParser) -> None:
    """The option that makes a command write JSON, for programs."""
    parser.add_argument("--json", action="store_true", help="write one JSON document")


def path_or_url(text: str) -> str:
    """A type of arguments: a file or folder, whose name may be any bytes, or a URL."""
    return text


def whole_number(text: str) -> int:
    """A type of arguments: 0, 1, 2 ..."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"a whole number is needed, not {text!r}")
    return int(text)


def local_root(options: Namespace) -> Path:
    """The store's folder. Raises UsageError for a URL, NotFound where there is no such folder."""
    from tachograph.redaction import redact_url
    from tachograph.store.store import open_store

    url = options.root or ""
    if "://" in url and not url.startswith("file://"):
        raise UsageError(f"{redact_url(url)} is no folder: this works on the machine where the journals lie")
    return existing(open_store(options.root).root)


def existing(root: Path) -> Path:
    """A store's folder. Raises NotFound where there is none."""
    if not root.is_dir():
        raise NotFound(f"there is no store at {root}: --root names another")
    return root


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """``key=value`` texts as a mapping."""
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"a tag is written key=value, got {text!r}")
        values[key] = value
    return values
