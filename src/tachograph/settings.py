"""Settings from the environment and from ``[tool.tachograph]`` of the user's ``pyproject.toml``.

The environment wins over the file, an argument over both (the callers see to that). The file is the nearest
``pyproject.toml`` at or above the folder that the process began in, read once.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = ".tachograph"


_chosen: dict[str, Any] = {}


def choose(**arguments: Any) -> None:
    """Set what ``autolog`` got as arguments: it wins over environment and file. None unsets a setting."""
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
    """The local store: ``TACHOGRAPH_DIR``, else the nearest parent's ``.tachograph``, else one in this folder.

    One for a process, wherever it changes to: see :func:`_here`."""
    named = get("dir")
    if named:
        return _named(str(named))
    here = Path(_here())
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    return here / FOLDER


def share_root(root: Path) -> None:
    """Have child processes record in the same store, whatever folder they are started in."""
    if not os.path.isabs(os.path.expanduser(os.environ.get("TACHOGRAPH_DIR", ""))):
        os.environ["TACHOGRAPH_DIR"] = str(root)


def _named(name: str) -> Path:
    """The folder of that name, resolved when the name was first seen: a later change of folders doesn't move it."""
    if name not in _seen_names:
        _seen_names[name] = Path(os.path.normpath(os.path.join(_here(), os.path.expanduser(name))))
    return _seen_names[name]


_seen_names: dict[str, Path] = {}
_start: str | None = None


def _here() -> str:
    """The folder that this process counts as being in, for its store and its settings: always the same.

    Of a program that is the one in which this is imported: what changes folders later, Hydra for one, does so for the
    outputs of a single job, and ``tachograph runs`` is called where the program is. In a notebook or at a prompt it is
    that of the first use: there ``%cd`` says where the project is, and comes after the imports as often as before.
    """
    global _start
    if _start is None:
        _start = _working_folder()
    return _start


def _working_folder() -> str:
    """The working folder; where that was removed meanwhile, the one in which the process was started."""
    try:
        return os.getcwd()
    except OSError:
        return os.environ.get("PWD") or os.path.expanduser("~")


def _begin() -> None:
    """Remember the working folder now, in a program; see :func:`_here`."""
    if not hasattr(sys, "ps1"):
        _here()


@lru_cache(maxsize=8)
def _file(folder: str) -> dict[str, Any]:
    for parent in (Path(folder), *Path(folder).parents):
        path = parent / "pyproject.toml"
        try:
            if path.is_file():  # a pipe would be waited for, for ever
                return _section(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
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


_begin()
