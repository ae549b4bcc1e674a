"""Whether each plug-in would be active in a training, without importing any framework.

A plug-in's module imports its framework, so the versions it needs are read from its source, and compared with the
metadata of what is installed.
"""

from __future__ import annotations

import ast
from importlib import util
from pathlib import Path
from typing import Any, NamedTuple

from tachograph.hooks import compatibility, plugins


class Outlook(NamedTuple):
    """The state that a plug-in would have in a training.

    ``state`` is "ready", "untested" (with a newer version than any that was tested; it is recorded), "absent" (its
    framework is not installed), "skipped" (a version that it can't work with) or "failed" (the plug-in is broken).
    """

    name: str
    module: str
    state: str
    reason: str = ""
    installed: str | None = None
    requires: tuple[str, ...] = ()
    tested: str | None = None


def of_all() -> list[Outlook]:
    """The outlook of every installed plug-in; of twins, which share a module, under the name of the first."""
    return [of(name, plugins.installed()[name].module) for name in plugins.names()]


def of(name: str, module: str) -> Outlook:
    """The outlook of the plug-in ``module``, which waits for the import of ``name``."""
    try:
        constants = _constants(module)
    except (ImportError, OSError, SyntaxError) as error:
        return Outlook(name, module, "failed", f"its module can't be read: {error}")
    requires, tested = compatibility.alternatives(constants.get("REQUIRES", ())), constants.get("TESTED")
    verdict = compatibility.judge(requires, tested)
    if verdict is not None:
        return Outlook(name, module, verdict.state, verdict.reason, verdict.version, requires, tested)
    if util.find_spec(name) is None:
        return Outlook(name, module, "absent", f"{name} is not installed", None, requires, tested)
    return Outlook(name, module, "ready", "its version is not known", None, requires, tested)


def _constants(module: str) -> dict[str, Any]:
    """What a module's source assigns to its names, as far as it is written out there."""
    spec = util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"there is no module {module}")
    assignments = (node for node in ast.parse(Path(spec.origin).read_bytes()).body if isinstance(node, ast.Assign))
    return {
        target.id: ast.literal_eval(node.value)
        for node in assignments
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("REQUIRES", "TESTED")
    }
