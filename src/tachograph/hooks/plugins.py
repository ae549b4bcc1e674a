"""Plug-ins: found through entry points, loaded when their framework is imported, gated by its version.

An entry point of the group ``tachograph.plugins`` has the name of the top-level package that it waits for, and names a
module with ``REQUIRES`` (a version range of the installed distribution, or several alternatives), optionally
``SILENCES``, and ``install(hooks)``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType

import msgspec

from tachograph import guard, redaction
from tachograph.hooks import session
from tachograph.hooks.patch import Hooks
from tachograph.record import process_end
from tachograph.runtime import import_hooks
from tachograph.runtime.background import background
from tachograph.runtime.entry_points import entry_points

GROUP = "tachograph.plugins"


class Plugin(msgspec.Struct):
    """A plug-in and its state: one of off, waiting (for its framework), active, skipped, failed.

    ``reason`` says why it is not active. ``withdraw`` stops it from waiting.
    """

    name: str
    module: str
    state: str = "off"
    reason: str = ""
    requires: tuple[str, ...] = ()
    version: str | None = None
    untested: bool = False
    hooks: Hooks | None = None
    withdraw: Callable[[], None] | None = None


_plugins: dict[str, Plugin] = {}


def installed() -> dict[str, Plugin]:
    """The installed plug-ins by name."""
    if not _plugins:
        _plugins.update({name: Plugin(name, module) for name, module in sorted(entry_points(GROUP))})
    return _plugins


def status() -> list[Plugin]:
    """All plug-ins, with why each is active or not."""
    return list(installed().values())


def names() -> list[str]:
    """The names of the plug-ins for people: of twins, which share a module, the first one only."""
    return sorted({plugin.module: plugin.name for plugin in reversed(installed().values())}.values())


def activate(names: Iterable[str]) -> None:
    """Turn plug-ins on, with their twins: at once where the framework is imported already, else when it will be."""
    modules = {installed()[name].module for name in names}
    for name, plugin in installed().items():
        if plugin.module not in modules:
            continue
        if plugin.state in ("waiting", "active"):
            continue
        plugin.state, plugin.reason = "waiting", f"{name} is not imported yet"
        withdraw = import_hooks.when_imported(name, partial(_framework_imported, plugin))
        plugin.withdraw = partial(
            _each, withdraw, import_hooks.when_imported(plugin.module, partial(_imported, plugin))
        )


def deactivate() -> None:
    """Turn all plug-ins off and take their hooks back."""
    for plugin in reversed(installed().values()):
        if plugin.withdraw is not None:
            plugin.withdraw()
        if plugin.hooks is not None:
            plugin.hooks.undo()
        plugin.state, plugin.reason, plugin.hooks, plugin.withdraw = "off", "", None, None


def _each(*steps: Callable[[], None]) -> None:
    for step in steps:
        step()


def _framework_imported(plugin: Plugin) -> None:
    """Load the plug-in, unless its own import has just imported the framework: then its module isn't ready."""
    if plugin.state == "waiting" and not import_hooks.is_being_loaded(plugin.module):
        _load(plugin)


def _imported(plugin: Plugin) -> None:
    """The plug-in's module was imported, by us or by somebody else."""
    if plugin.state == "waiting" and import_hooks.is_loaded(plugin.name):
        _load(plugin)


def _load(plugin: Plugin) -> None:
    hooks = Hooks(plugin.name, session.enabled)
    plugin.state, plugin.reason = "failed", "its module could not be loaded"
    with guard.contained(f"plug-in {plugin.name}"):
        # Twins (lightning and pytorch_lightning) share a module: each has hooks of its own.
        module = importlib.import_module(plugin.module)
        if not _fits(plugin, module):
            guard.warn(f"gate:{plugin.name}", f"{plugin.name} is not recorded: {plugin.reason}")
            return
        plugin.reason = "its hooks could not be installed"
        try:
            module.install(hooks)
        except BaseException:
            hooks.undo()
            raise
        plugin.state, plugin.reason, plugin.hooks = "active", "", hooks
        background.import_soon("tachograph.capture.hardware")
        background.soon(redaction.prepare)
        if "numpy" in sys.modules:
            background.import_soon(*(f"tachograph.data.{name}" for name in ("readers", "digest", "profile", "rows")))
        process_end.come_first()  # the libraries that it saves models with may shut down at the exit


def _fits(plugin: Plugin, module: ModuleType) -> bool:
    """Whether the installed framework is one that the plug-in can work with."""
    from tachograph.hooks import compatibility  # it takes a while to be imported

    plugin.requires = compatibility.alternatives(getattr(module, "REQUIRES", ()))
    verdict = compatibility.judge(plugin.requires, getattr(module, "TESTED", None))
    if verdict is None:
        return True
    plugin.version, plugin.untested = verdict.version, verdict.state == "untested"
    if verdict.state == "skipped":
        plugin.state, plugin.reason = verdict.state, verdict.reason
    return verdict.state != "skipped"
