"""The entry points of installed distributions: plug-ins, sinks, loaders and readers of devices are found by them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable


def entry_points(group: str) -> Iterable[tuple[str, str]]:
    """The entry points of ``group``: (name, module).

    Read from the files themselves: ``importlib.metadata`` takes 30 ms to import and 10 ms to look through a hundred
    distributions, which is more than all of ``autolog()`` may take.
    """
    seen = set()
    for folder in sys.path:
        for text in _files(folder or os.curdir):
            for name, module in _section(text, group):
                if name not in seen:
                    seen.add(name)
                    yield name, module


def _files(folder: str) -> Iterable[str]:
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):
        return
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            try:
                with open(os.path.join(folder, name, "entry_points.txt"), encoding="utf-8") as file:
                    yield file.read()
            except (OSError, UnicodeDecodeError):
                continue


def _section(text: str, group: str) -> Iterable[tuple[str, str]]:
    if group not in text:
        return
    inside = False
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, module = line.partition("=")
            yield name.strip(), module.strip()
