"""What a program warns of."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from tachograph import guard


def of(program: Callable[[], Any], action: Literal["always", "error"]) -> tuple[Counter[str], Exception | None]:
    """How often ``program`` gives which warning, and what has ended it."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter(action)
        warnings.simplefilter("ignore", ResourceWarning)  # which come whenever the interpreter tidies up
        error = raised(program)
    return Counter(f"{each.category.__name__}: {each.message}" for each in shown), error


def raised(program: Callable[[], Any]) -> Exception | None:
    """What has ended ``program``."""
    try:
        program()
    except guard.FAULTS as error:
        return error
    return None
