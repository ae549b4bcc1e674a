"""Whether a framework is left as it was: the functions and classes of its modules, and the methods of those classes."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def framework_left_alone(packages: Collection[str]) -> Iterator[None]:
    """Raises AssertionError where code in ``packages`` is another object after the block than before."""
    before = _attributes(packages)
    yield
    after = _attributes(packages)
    classes = {where[:2] for where in before if where[1]}
    changed = [where for where, value in before.items() if after.get(where) is not value and _is_code(value)]
    # What is new in a module may have been imported only now.
    added = [where for where in after.keys() - before.keys() if where[:2] in classes and _is_code(after[where])]
    for module, owner, name in [*changed, *added]:
        raise AssertionError(
            f"undo must restore the identical object of {owner or module}.{name}: install has set it by itself, not "
            "with hooks.around, inject, listen or replace"
        )


Attributes = dict[tuple[str, str, str], Any]  # by module, class ("" for the module itself) and name


def _attributes(packages: Collection[str]) -> Attributes:
    attributes: Attributes = {}
    for module in [name for name in sys.modules if name.partition(".")[0] in packages]:
        for name, value in list(getattr(sys.modules[module], "__dict__", {}).items()):
            attributes[module, "", name] = value
            if issubclass(type(value), type) and value.__module__ == module:  # a proxy would be asked by isinstance
                attributes |= {(module, value.__qualname__, inner): each for inner, each in vars(value).items()}
    return attributes


def _is_code(value: Any) -> bool:
    """Whether this may be a hook; a number may be a count of the framework's, which goes on."""
    return callable(value) or hasattr(type(value), "__get__")
