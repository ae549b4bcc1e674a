"""``autolog()``: checks its arguments, turns the plug-ins on, and does the same in child processes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from tachograph import guard, settings
from tachograph.capture import console, parsed_arguments
from tachograph.hooks import children, plugins, python, session
from tachograph.hooks.call import Call
from tachograph.hooks.patch import Hooks
from tachograph.hooks.session import Options, options, suppress
from tachograph.hooks.watch import Watcher
from tachograph.record import lifecycle, process_end
from tachograph.record.registering import check_model_name
from tachograph.record.start import check_mapping, check_sinks, check_text
from tachograph.runtime import notebooks

__all__ = ["Autolog", "autolog", "suppress"]

_python_hooks: Hooks | None = None


class Autolog:
    """The handle of ``autolog``: ``undo()`` puts everything back; as a context manager it does so at the end."""

    def undo(self) -> None:
        """Take all hooks back. Runs that are open stay open."""
        global _python_hooks
        plugins.deactivate()
        if _python_hooks is not None and "multiprocessing" in sys.modules:
            importlib.import_module("multiprocessing.spawn")  # so that children learn that this was undone
        if _python_hooks is not None:
            _python_hooks.undo()
            _python_hooks = None
            console.expect_no_more()
        _set(Options())
        options.name = None

    def __enter__(self) -> Autolog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def autolog(
    *frameworks: str,
    experiment: str | None = None,
    sinks: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    models: bool = True,
    checkpoints: str | bool = "best",
    datasets: bool = True,
    system: float | bool = 10.0,
    every_n_steps: int = 1,
    silent: bool = False,
    register: str | None = None,
) -> Autolog:
    """Record every training from now on; before or after the frameworks are imported, and as often as you like.

    ``frameworks`` names the plug-ins to use; none named means all. ``models`` keeps the fitted model, ``checkpoints``
    "best" (best and last), "all" or False. ``datasets`` records schema, size, digest and profile of training data.
    ``system`` is the time between hardware samples in seconds; False for none. ``every_n_steps`` thins per-step
    metrics. ``silent`` keeps warnings off standard error. ``register`` names a model: each training that ends well, in
    a run that was opened for it, makes its next version. Called again, it adds plug-ins, and the arguments that it is
    given.

    Raises ValueError for arguments that can't be right, before anything is changed.
    """
    _check(frameworks, checkpoints, system, every_n_steps, models=models, datasets=datasets, silent=silent)
    check_text(experiment=experiment)
    check_mapping(tags=tags)
    check_sinks(sinks)
    if register is not None:
        check_model_name(register)
    if settings.off():
        return Autolog()
    requested = Options(
        experiment=experiment, sinks=None if sinks is None else list(sinks), tags=dict(tags or {}), models=models,
        checkpoints=checkpoints, datasets=datasets, system=system, every_n_steps=every_n_steps, silent=silent,
        register=register,
    )  # fmt: skip
    with guard.contained("autolog"):
        if _python_hooks is not None:
            requested = _added(requested)
            if not _adopted:  # else the program of a child process is loaded, and calls it as its parent has
                _announce_change(requested)
        _set(requested)
        _hook_python()
        plugins.activate(frameworks or plugins.installed())
    return Autolog()


def run_name(name: str | None) -> None:
    """Name the runs that autolog opens; None for the framework's own naming."""
    options.name = name


def _check(frameworks: Sequence[Any], checkpoints: Any, system: Any, every_n_steps: Any, **flags: Any) -> None:
    installed = plugins.installed()
    for framework in frameworks:
        if not isinstance(framework, str) or framework not in installed:
            raise ValueError(f"autolog knows no framework {framework!r}; it knows {', '.join(plugins.names())}")
    if not (checkpoints is False or checkpoints in ("best", "all")):
        raise ValueError(f'checkpoints must be "best", "all" or False, got {checkpoints!r}')
    if not isinstance(system, bool) and not (isinstance(system, int | float) and 0 < system < float("inf")):
        raise ValueError(f"system must be a number of seconds above 0, or False, got {system!r}")
    if isinstance(every_n_steps, bool) or not isinstance(every_n_steps, int) or every_n_steps < 1:
        raise ValueError(f"every_n_steps must be a whole number from 1, got {every_n_steps!r}")
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {value!r}")


def _added(requested: Options) -> Options:
    """The options of two calls together: where the second call leaves an argument out, the first one's stays."""
    default = Options()
    merged = Options()
    for name in Options.__struct_fields__:
        value = getattr(requested, name)
        setattr(merged, name, getattr(options, name) if value == getattr(default, name) else value)
    return merged


def _announce_change(requested: Options) -> None:
    changed = [
        f"{name}={getattr(requested, name)!r} (was {getattr(options, name)!r})"
        for name in Options.__struct_fields__
        if getattr(requested, name) != getattr(options, name)
    ]
    if changed:
        text = f"autolog() was called again with other arguments: {', '.join(changed)} from now on"
        guard.warn(text, text)


def _set(requested: Options) -> None:
    for name in Options.__struct_fields__:
        if name != "name":
            setattr(options, name, getattr(requested, name))
    guard.mute(requested.silent)
    settings.choose(experiment=requested.experiment, sinks=requested.sinks)
    lifecycle.configure(requested.system)


# -- child processes --


def _handover() -> children.Handover | None:
    """What a child process must know to record as this one does."""
    if _python_hooks is None:
        return {"on": False}
    tags = {str(name): str(value) for name, value in options.tags.items()}
    return {
        "on": True,
        "options": {**msgspec.structs.asdict(options), "tags": tags},
        "plugins": [name for name, plugin in plugins.installed().items() if plugin.state != "off"],
        "arguments": dict(parsed_arguments.latest),
        "quiet": session.quiet_here(),
    }


def adopt(handover: children.Handover) -> None:
    """Record as the parent of this process does.

    The program is about to be loaded, and may call ``autolog`` itself: once it is loaded, this is done again.
    """
    if settings.off():
        return
    with guard.contained("child process"):
        _adopted.append(handover)
        if handover["on"]:
            _turn_on(handover)


_adopted: list[children.Handover] = []  # what the parent process has handed over, until the program is loaded


def _adopt_again() -> None:
    """The program is loaded: what it has asked of ``autolog`` in the meantime gives way to the parent's."""
    handover = _adopted.pop()
    if not handover["on"]:
        Autolog().undo()
        return
    _turn_on(handover)
    if handover["quiet"]:
        session.be_quiet()


def _turn_on(handover: children.Handover) -> None:
    _set(Options(**handover["options"]))
    options.name = handover["options"]["name"]
    parsed_arguments.latest.update(handover["arguments"])
    _hook_python()
    plugins.activate(set(handover["plugins"]) & set(plugins.installed()))


def _child(call: Call) -> Watcher:
    """Watch a child process, forked or not, from when its program is loaded to the end of its work."""
    if _adopted:
        _adopt_again()
    children.follow_tasks(call.instance, process_end.end_task)
    yield


def _hook_python() -> None:
    """Listen to what happens outside of the frameworks: new threads and processes, parsed command lines, seeds, and
    what is printed before the first run."""
    global _python_hooks
    if _python_hooks is not None:
        return
    _python_hooks = hooks = Hooks("python")
    session.follow_threads(hooks)
    hooks.native(children.hand_over(_handover))
    if settings.flag("console", True) and notebooks.current() is None:  # IPython changes the streams for each cell
        console.expect()
    python.hook_when_imported(hooks, "multiprocessing.process", "BaseProcess._bootstrap", _child)
    python.listen(hooks)
