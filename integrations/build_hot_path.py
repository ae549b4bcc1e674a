"""Builds the part that is in C, where that can be: on Linux, with a compiler and Python's headers.

Without it the wheel is one for every platform, and all is done in Python. A part of the build: see ``pyproject.toml``.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "integrations/tachograph_frameworks/torch/hot_path/_in_c.c"
FLAGS = ("-O2", "-shared", "-fPIC")


class BuildHotPath(BuildHookInterface[Any]):
    """Compiles one file into one module, beside the sources: there an editable installation looks for it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it makes a wheel."""
        source = Path(self.root) / SOURCE
        target = source.with_name(f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}")
        if not _is_possible():
            return
        try:
            _compile(source, target)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"{SOURCE} was not built, all will be done in Python: {error}")
            return
        build_data["artifacts"].append(target.relative_to(self.root).as_posix())
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def _is_possible() -> bool:
    """Not on other systems, whose clocks are read differently, nor in a Python whose threads run side by side."""
    is_cpython = sys.implementation.name == "cpython"
    return sys.platform == "linux" and is_cpython and not sysconfig.get_config_var("Py_GIL_DISABLED")


def _compile(source: Path, target: Path) -> None:
    compiler = shlex.split(os.environ.get("CC", "cc")) + shlex.split(os.environ.get("CFLAGS", ""))
    made = target.with_name(f"{target.name}.{os.getpid()}")  # put in its place as a whole: somebody may be using it
    try:
        headers = f"-I{sysconfig.get_path('include')}"
        subprocess.run([*compiler, *FLAGS, headers, str(source), "-o", str(made)], check=True)
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)
