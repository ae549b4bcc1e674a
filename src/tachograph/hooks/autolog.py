"""The one line: ``autolog()``. Checks what was asked for, and turns the plug-ins on."""

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
from tachograph.record.start import check_mapping, check_sinks, check_text
from tachograph.runtime import notebooks

__all__ = ["Autolog", "autolog", "suppress"]

_own_hooks: Hooks | None = None


class Autolog:
    """The handle of ``autolog``: ``undo()`` puts everything back; as a context manager it does so at the end."""

    def undo(self) -> None:
        """Take all hooks back. Runs that are open stay open."""
        global _own_hooks
        plugins.deactivate()
        if _own_hooks is not None and "multiprocessing" in sys.modules:
            importlib.import_module("multiprocessing.spawn")  # which children are told by that this was undone
        if _own_hooks is not None:
            _own_hooks.undo()
            _own_hooks = None
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
) -> Autolog:
    """Record every training from now on; before or after the frameworks are imported, and as often as you like.

    ``frameworks`` names the plug-ins to use; none named means all. ``models`` keeps the fitted model, ``checkpoints``
    "best" (best and last), "all" or False. ``datasets`` records schema, size, digest and profile of training data.
    ``system`` is the time between hardware samples in seconds; False for none. ``every_n_steps`` thins per-step
    metrics. ``silent`` keeps warnings off standard error. Called again, it adds plug-ins, and the arguments that it is
    given.

    Raises ValueError for arguments that can't be right, before anything is changed.
    """
    _check(frameworks, checkpoints, system, every_n_steps, models=models, datasets=datasets, silent=silent)
    check_text(experiment=experiment)
    check_mapping(tags=tags)
    check_sinks(sinks)
    if settings.off():
        return Autolog()
    asked = Options(
        experiment=experiment, sinks=None if sinks is None else list(sinks), tags=dict(tags or {}), models=models,
        checkpoints=checkpoints, datasets=datasets, system=system, every_n_steps=every_n_steps, silent=silent,
    )  # fmt: skip
    with guard.contained("autolog"):
        if _own_hooks is not None:
            asked = _added(asked)
            if not _words:  # else its parent's program is loaded, and calls it anew
                _announce_change(asked)
        _set(asked)
        _hook_python()
        plugins.activate(frameworks or plugins.installed())
    return Autolog()


def run_name(name: str | None) -> None:
    """Name the runs that autolog opens; None for the framework's own naming."""
    options.name = name


def _check(frameworks: Sequence[Any], checkpoints: Any, system: Any, every_n_steps: Any, **flags: Any) -> None:
    known = plugins.installed()
    for framework in frameworks:
        if not isinstance(framework, str) or framework not in known:
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


def _added(asked: Options) -> Options:
    """What two calls ask for together: where the second leaves an argument out, the first's stays."""
    default = Options()
    merged = Options()
    for name in Options.__struct_fields__:
        given = getattr(asked, name)
        setattr(merged, name, getattr(options, name) if given == getattr(default, name) else given)
    return merged


def _announce_change(asked: Options) -> None:
    changed = [
        f"{name}={getattr(asked, name)!r} (was {getattr(options, name)!r})"
        for name in Options.__struct_fields__
        if getattr(asked, name) != getattr(options, name)
    ]
    if changed:
        text = f"autolog() was called again with other arguments: {', '.join(changed)} from now on"
        guard.warn(text, text)


def _set(asked: Options) -> None:
    for name in Options.__struct_fields__:
        if name != "name":
            setattr(options, name, getattr(asked, name))
    guard.mute(asked.silent)
    settings.choose(experiment=asked.experiment, sinks=asked.sinks)
    lifecycle.configure(asked.system)


# -- child processes --


def _word() -> children.Word | None:
    """What a child process must know to record as this one does."""
    if _own_hooks is None:
        return {"on": False}
    tags = {str(name): str(value) for name, value in options.tags.items()}
    return {
        "on": True,
        "options": {**msgspec.structs.asdict(options), "tags": tags},
        "plugins": [name for name, found in plugins.installed().items() if found.state != "off"],
        "arguments": dict(parsed_arguments.latest),
        "quiet": session.quiet_here(),
    }


def adopt(word: children.Word) -> None:
    """In a child process: do as its parent does. Its program is about to be loaded, which may call ``autolog`` itself,
    and after that it is done again."""
    if settings.off():
        return
    with guard.contained("child process"):
        _words.append(word)
        if word["on"]:
            _turn_on(word)


_words: list[children.Word] = []  # what this process was told, until its program is loaded


def _adopt_at_last() -> None:
    word = _words.pop()
    if not word["on"]:
        Autolog().undo()
        return
    _turn_on(word)
    if word["quiet"]:
        session.be_quiet()


def _turn_on(word: children.Word) -> None:
    _set(Options(**word["options"]))
    options.name = word["options"]["name"]
    parsed_arguments.latest.update(word["arguments"])
    _hook_python()
    plugins.activate(set(word["plugins"]) & set(plugins.installed()))


def _child(call: Call) -> Watcher:
    """Watch a child process, forked or not, from when its program is loaded to the end of its work."""
    if _words:
        _adopt_at_last()
    children.follow_tasks(call.instance, process_end.end_task)
    yield


def _hook_python() -> None:
    """What is listened to outside the frameworks: new threads and processes, parsed command lines, seeds, what is
    printed before the first run; and what was parsed and seeded already."""
    global _own_hooks
    if _own_hooks is not None:
        return
    _own_hooks = hooks = Hooks("python")
    session.follow_threads(hooks)
    hooks.native(children.tell(_word))
    if settings.flag("console", True) and notebooks.current() is None:  # IPython changes the streams for each cell
        console.expect()
    python.hook_when_imported(hooks, "multiprocessing.process", "BaseProcess._bootstrap", _child)
    python.listen(hooks)
