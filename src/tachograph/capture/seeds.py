"""The seeds that the program sets, by library. Filled by the hooks of autolog."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tachograph.capture import parsed_arguments

by_library: dict[str, int | str] = {}


def note(library: str, seed: object) -> None:
    """``library``'s generator was seeded."""
    by_library[library] = seed if isinstance(seed, int) else str(seed)[:200]


def look_back() -> None:
    """Note what generators were seeded with before anybody listened, where their state still shows it."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None and (seed := _of_numpy(numpy)) is not None:
        by_library.setdefault("numpy", seed)
    random = sys.modules.get("random")
    if random is not None and (seed := _of_python(random)) is not None:
        by_library.setdefault("random", seed)


def _of_numpy(numpy: Any) -> int | None:
    """Its state begins with the seed, as long as nothing was drawn."""
    state = numpy.get_state(legacy=False)
    seed = int(state["state"]["key"][0]) if state["bit_generator"] == "MT19937" else None
    if seed is None:
        return None
    fresh = numpy.RandomState(seed).get_state(legacy=False)["state"]
    return seed if fresh["pos"] == state["state"]["pos"] and (fresh["key"] == state["state"]["key"]).all() else None


def _of_python(random: Any) -> int | None:
    """Its state doesn't tell, but whether a seed that the program speaks of leads to it."""
    state = random.getstate()
    return next((seed for seed in _candidates() if random.Random(seed).getstate() == state), None)


def _candidates() -> Iterator[int]:
    named = {**vars(sys.modules["__main__"]), **parsed_arguments.latest}
    values = [*by_library.values(), *(value for name, value in list(named.items()) if "seed" in name.lower())]
    yield from {value: None for value in [*values, *range(100)] if type(value) is int}
