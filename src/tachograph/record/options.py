"""The options of ``autolog``."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct):
    """The options of ``autolog``, which plug-ins read.

    ``models`` and ``datasets`` say whether models are kept and data is described; ``checkpoints`` is "best", True (all)
    or False; ``system`` the seconds between samples of the load, or False; of ``every_n_steps`` steps one is recorded.
    ``register`` is the model of which each training makes a version, or None. ``name``, ``experiment``, ``tags`` and
    ``sinks`` are those of the runs that autolog opens.
    """

    experiment: str | None = None
    sinks: list[str] | None = None
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    models: bool = True
    checkpoints: str | bool = "best"
    datasets: bool = True
    system: float | bool = 10.0
    every_n_steps: int = 1
    silent: bool = False
    register: str | None = None
    name: str | None = None


options = Options()
