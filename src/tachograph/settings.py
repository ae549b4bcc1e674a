"""Settings from the environment and from ``[tool.tachograph]`` of the user's ``pyproject.toml``.

The environment wins over the file, an argument over both (the callers see to that). The file is the nearest
``pyproject.toml`` at or above the working folder, read once for each working folder.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = ".tachograph"


_chosen: dict[str, Any] = {}


def choose(**arguments: Any) -> None:
    """What ``autolog`` was given as arguments, which win; None takes one back."""
    for name, value in arguments.items():
        if value is None:
            _chosen.pop(name, None)
        else:
            _chosen[name] = value


def get(name: str) -> Any:
    """The setting ``name`` (for example "experiment"), or None. From the environment it is always a string."""
    if name in _chosen:
        return _chosen[name]
    value = os.environ.get("TACHOGRAPH_" + name.upper())
    return value if value else _file(_here()).get(name)


def flag(name: str, default: bool = False) -> bool:
    """A setting that is on or off."""
    value = get(name)
    return default if value is None else str(value).strip().lower() not in {"", "0", "false", "no", "off"}


def seconds(name: str, default: float) -> float:
    """A setting in seconds; what is no number counts as not set."""
    try:
        value = float(get(name))
    except (TypeError, ValueError):
        return default
    return value if value == value else default


def sinks() -> list[str]:
    """The URLs in ``TACHOGRAPH_SINKS`` (comma-separated) or in the file (a list)."""
    value = get("sinks") or []
    parts = value.split(",") if isinstance(value, str) else value
    return [str(part).strip() for part in parts if str(part).strip()]


def off() -> bool:
    """Whether ``TACHOGRAPH_OFF`` asks that nothing happens at all."""
    return flag("off")


def root() -> Path:
    """The local store: ``TACHOGRAPH_DIR``, else the nearest parent's ``.tachograph``, else one in this folder."""
    named = get("dir")
    if named:
        return Path(os.path.abspath(os.path.expanduser(str(named))))
    here = Path(_here())
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    return here / FOLDER


def _here() -> str:
    """The working folder; where it was removed under us, the one that we were started in."""
    try:
        return os.getcwd()
    except OSError:
        return os.environ.get("PWD") or os.path.expanduser("~")


@lru_cache(maxsize=8)
def _file(folder: str) -> dict[str, Any]:
    for parent in (Path(folder), *Path(folder).parents):
        try:
            text = (parent / "pyproject.toml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        return _section(text)
    return {}


def _section(text: str) -> dict[str, Any]:
    if "tool.tachograph" not in text:  # spares the import where, as mostly, there is nothing for us
        return {}
    import tomllib

    try:
        section = tomllib.loads(text)["tool"]["tachograph"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return {}
    if not isinstance(section, dict):
        return {}
    return {
        name: _plain(value) for name, value in section.items() if isinstance(value, str | bool | int | float | list)
    }


def _plain(value: Any) -> str | list[str]:
    """A value of the file as the environment would give it: text; of a list, a list of texts."""
    return [str(item) for item in value] if isinstance(value, list) else str(value)
