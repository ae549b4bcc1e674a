"""The seeds that the program sets, by library. Filled by the hooks of autolog."""

from __future__ import annotations

known: dict[str, int | str] = {}


def note(library: str, seed: object) -> None:
    """``library``'s generator was seeded."""
    known[library] = seed if isinstance(seed, int) else str(seed)[:200]
