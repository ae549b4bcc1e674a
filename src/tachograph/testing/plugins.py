"""For authors of plug-ins: does it keep the promises?

    from tachograph.testing import check_plugin

    def train():                      # at the top of a module; something small, with the real framework
        ...
        return result                 # whatever can be compared: numbers, arrays, dicts and lists of them

    def test_my_plugin():
        check_plugin("my_plugin.module", train)

Each rule is a function here, and each failure an ``AssertionError`` that says which rule was broken.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import operator
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from types import FrameType, ModuleType
from typing import Any
from unittest import mock

import tachograph
from tachograph import guard
from tachograph.hooks import Hooks, plugins
from tachograph.record import launchers
from tachograph.testing import random_numbers, shown_warnings
from tachograph.testing.framework import framework_left_alone
from tachograph.testing.own_store import lenient, own_store, recorded
from tachograph.testing.planted_hooks import CallbackHooks, FaultyHooks, NotingHooks, existing_arguments

Train = Callable[[], Any]


def check_plugin(module: ModuleType | str, train: Train) -> None:
    """Hold a plug-in to the promises, with ``train`` as the user's program.

    ``module`` is the plug-in's module, or its name; it must be installed under an entry point. ``train`` takes no
    arguments, trains once, and gives the same result each time: numbers, arrays, dicts and lists of them. Where the
    plug-in adds a callback, let ``train`` give one of its own, too, and tell in its result what that has seen.

    A module that says ``LOOPS = True`` records trainings that are no calls: their run may stay open until the hooks are
    taken back.

    Raises AssertionError for a broken rule.

    ``train`` is a function at the top of a file. That file is imported again, in processes of their own: so it does
    nothing by itself where it is imported, and check_plugin() is called in a test, not there.
    """
    assert _CHECKED not in os.environ, "check_plugin() is called where train()'s module is imported: call it in a test"
    if isinstance(module, str):
        module = importlib.import_module(module)
    name = _entry_points(module)[0]
    with own_store(), existing_arguments():
        plain = train()
        _needs_equal(plain, train(), "train() must give the same result each time it is called")
        _install_is_undone(module)
        hooks = _noted(module, train)
        targets = hooks.called_methods()
        for rule in (_same_result, _twice_is_once, _nested_adds_no_run, _other_ranks_train_on):
            rule(name, train, plain)
        _undo_restores(name, train, hooks)
        _nobody_is_warned(name, train)
        _random_numbers_stay(name, train)
        _calls_are_the_users_own(name, train, targets, hooks.combined)
        _exceptions_are_the_users_own(name, train, targets)
        if hooks.called:
            _faults_do_not_show(module, train, plain)
        if hooks.injects:
            _faults_of_callbacks_do_not_show(module, train, plain)
    _callback_can_be_copied(module)
    _any_import_order(name, train)


# -- the rules --


def _install_is_undone(module: ModuleType) -> None:
    with framework_left_alone(_entry_points(module)):
        hooks = Hooks(module.__name__)
        try:
            module.install(hooks)
        finally:
            hooks.undo()


def _same_result(name: str, train: Train, plain: Any) -> None:
    with recorded(name) as store:
        result = _trained(train, "with autolog")
        _needs_active(name)
        _needs_equal(plain, result, "the result must be the same with and without autolog")
        _end_loop(name)
        assert tachograph.active_run() is None, "after the training no run may be active"
        [run] = _one_run(store, "one training makes one run")
        assert run.opener in ("user", *plugins.installed()), (
            f"{run.opener!r} has opened the run: no plug-in is called so"
        )
        assert run.status == "finished", f"a training that ends well makes a finished run, not a {run.status} one"
        assert not (faults := [note.text for note in run.notes if "failed" in note.text]), faults


def _twice_is_once(name: str, train: Train, plain: Any) -> None:
    with recorded(name) as once:
        train()
        _end_loop(name)
        [first] = _one_run(once, "one training makes one run")
        counts = {metric: first.summary(metric).count for metric in first.metrics}
    with recorded(name) as twice, tachograph.autolog(name, system=False):
        train()
        _end_loop(name)
        [second] = _one_run(twice, "autolog called twice makes one run")
        again = {metric: second.summary(metric).count for metric in second.metrics}
    assert counts == again, f"autolog called twice must record each point once: {counts} became {again}"


def _nested_adds_no_run(name: str, train: Train, plain: Any) -> None:
    with recorded(name) as store:
        with tachograph.start_run("the user's own") as users_run:
            _needs_equal(plain, train(), "the result must be the same inside the user's run")
            assert not users_run.ended, "the user's run must be left open"
        [run] = _one_run(store, "a training inside the user's run adds to that one")
        assert run.id == users_run.id


def _other_ranks_train_on(name: str, train: Train, plain: Any) -> None:
    rank = launchers.Job("testing", rank=1, size=2)
    with mock.patch.object(launchers, "job", return_value=rank), recorded(name):
        result = _trained(train, "current().run is None in a rank that records nothing: there")
        _end_loop(name)
    _needs_equal(plain, result, "the result must be the same in a rank that records nothing")


def _nobody_is_warned(name: str, train: Train) -> None:
    expected, _ = shown_warnings.of(train, "always")
    with recorded(name):
        added = shown_warnings.of(train, "always")[0] - expected
    assert not added, f"the user's program must not be warned of what the plug-in does: {', '.join(added)}"
    _, error = shown_warnings.of(train, "error")
    with recorded(name) as store:
        _, again = shown_warnings.of(train, "error")
        _end_loop(name)
        notes = [note.text for run in store.runs() for note in run.notes]
    assert type(again) is type(error), f"with warnings as errors the training must go on: {again!r}"
    assert not notes, f"with warnings as errors all must be recorded: {notes}"


def _random_numbers_stay(name: str, train: Train) -> None:
    random_numbers.seed()
    train()
    plain = random_numbers.state()
    with recorded(name):
        random_numbers.seed()
        train()
        with_autolog = random_numbers.state()
    changed = [library for library in plain if plain[library] != with_autolog[library]]
    assert not changed, f"random numbers must come as they do without autolog: those of {', '.join(changed)} do not"


def _undo_restores(name: str, train: Train, hooks: NotingHooks) -> None:
    before = [(where, read, read()) for where, read in hooks.hooked_attributes()]
    with recorded(name):
        train()
    for where, read, original in before:
        assert read() is original, f"undo must restore the identical object of {where}"


def _calls_are_the_users_own(
    name: str, train: Train, targets: list[tuple[Any, str]], combined: dict[tuple[int, str], str]
) -> None:
    for owner, attribute in targets:
        inner: list[Any] = []
        outer: list[Any] = []
        with _replaced(owner, attribute, _spy(inner)), recorded(name), _replaced(owner, attribute, _spy(outer)):
            train()
        where = f"{owner.__name__}.{attribute}"
        assert len(inner) == len(outer), f"{where} was called {len(inner)} times for {len(outer)} calls of the user's"
        for (passed, lists), (arrived, _) in zip(outer, inner, strict=True):
            assert all(_same_items(now, then) for now, then in lists), f"a list that was given to {where} was changed"
            for position, (sent, received) in enumerate(zip(passed.values(), arrived.values(), strict=False)):
                if list(passed)[position] == combined.get((id(owner), attribute)):
                    continue  # the plug-in has made one of two
                are_lists = isinstance(sent, list) and isinstance(received, list)
                grew = are_lists and _same_items(received[: len(sent)], sent)
                assert sent is received or sent is None or grew, f"{where} got another object than the user gave"


def _exceptions_are_the_users_own(name: str, train: Train, targets: list[tuple[Any, str]]) -> None:
    for owner, attribute in targets:
        error = ZeroDivisionError("the user's own")

        def fail(original: Any, args: Any, kwargs: Any, error: BaseException = error) -> Any:
            raise error

        where = f"the exception of {owner.__name__}.{attribute}"
        with _replaced(owner, attribute, fail):
            plain = shown_warnings.raised(train)  # some frameworks catch it, and raise another or go on
            with recorded(name) as store:
                raised = shown_warnings.raised(train)
                _end_loop(name)
                assert type(raised) is type(plain), f"{where} became {raised!r}, without autolog {plain!r}"
                assert (raised is error) == (plain is error), f"{where} must come through as the same object"
                for run in store.runs():
                    assert run.status in ("finished", "failed"), f"{where} left a run that is {run.status}"


def _end_loop(name: str) -> None:
    installed = plugins.installed()[name]
    if getattr(sys.modules[installed.module], "LOOPS", False) and installed.hooks is not None:
        installed.hooks.undo()


def _trained(train: Train, where: str) -> Any:
    """The result of a training in which no fault of the plug-in shows."""
    try:
        return train()
    except guard.FAULTS as error:
        raise AssertionError(f"{where} the training raised {type(error).__name__}: {error}") from error


def _faults_do_not_show(module: ModuleType, train: Train, plain: Any) -> None:
    for spot in ("before", "after"):
        with lenient():
            hooks = FaultyHooks(module.__name__, spot)
            try:
                module.install(hooks)
                result = train()
            finally:
                hooks.undo()
        assert hooks.planted, "no hook of the plug-in was reached"
        _needs_equal(plain, result, f"a fault of the plug-in {spot} the call must not change the result")


def _faults_of_callbacks_do_not_show(module: ModuleType, train: Train, plain: Any) -> None:
    hooks = CallbackHooks(module.__name__)

    def fail(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code in hooks.functions:
            raise RuntimeError("planted")

    with lenient():
        try:
            module.install(hooks)
            sys.setprofile(fail)
            result = train()
        except RuntimeError as error:
            rule = "decorate what the framework calls of a callback with hooks.shield"
            raise AssertionError(f"{error}: {rule}") from error
        finally:
            sys.setprofile(None)
            hooks.undo()
    _needs_equal(plain, result, "a fault in a callback of the plug-in must not change the result")


def _callback_can_be_copied(module: ModuleType) -> None:
    callback = getattr(module, "TachographCallback", None)
    if callback is None:
        return
    try:
        again = pickle.loads(pickle.dumps(callback()))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"the callback must pickle: {error}") from error
    assert type(again) is callback, "the callback must pickle"
    assert type(copy.deepcopy(callback())) is callback, "the callback must deep-copy"


_CHECKED = "TACHOGRAPH_CHECKED"  # set where a plug-in is tried in a process of its own
_ORDERS = {"autolog, then the framework": ("autolog", "load"), "the framework, then autolog": ("load", "autolog")}


def _any_import_order(name: str, train: Train) -> None:
    file = getattr(sys.modules[train.__module__], "__file__", None)
    assert file is not None, "train must be in a module that is a file"
    assert "." not in train.__qualname__, "train must be a function at the top of its module"
    for order, steps in _ORDERS.items():
        with tempfile.TemporaryDirectory() as root:
            environment = {**os.environ, "TACHOGRAPH_DIR": root, "TACHOGRAPH_STRICT": "1", _CHECKED: "1"}
            code = _SCRIPT.format(first=steps[0], second=steps[1], name=name, file=file, train=train.__qualname__)
            done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{order}: {done.stderr}"
            _one_run(tachograph.open_store(root), order)


_SCRIPT = """
import importlib.util, sys, tachograph

def autolog():
    tachograph.autolog({name!r}, system=False)

def load():
    spec = importlib.util.spec_from_file_location("the_training", {file!r})
    module = importlib.util.module_from_spec(spec)
    sys.modules["the_training"] = module
    spec.loader.exec_module(module)

{first}()
{second}()
getattr(sys.modules["the_training"], {train!r})()
"""


# -- how the rules are tried --


def _noted(module: ModuleType, train: Train) -> NotingHooks:
    """What the plug-in hooks, and what of it ``train`` calls."""
    hooks = NotingHooks(module.__name__)
    try:
        module.install(hooks)
        train()
    finally:
        hooks.undo()
    assert hooks.called or hooks.natives, "train() calls nothing that the plug-in hooks"
    return hooks


Replacement = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]  # called with the original and the arguments


def _spy(calls: list[Any]) -> Replacement:
    def spy(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = [*inspect.signature(original).parameters][: len(args)]
        passed = {**dict(zip_longest(names, args)), **{name: kwargs[name] for name in sorted(kwargs)}}
        lists = [(value, list(value)) for value in passed.values() if isinstance(value, list)]
        calls.append((passed, lists))
        return original(*args, **kwargs)

    return spy


def _same_items(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all(map(operator.is_, left, right))


@contextmanager
def _replaced(owner: Any, name: str, replacement: Replacement) -> Iterator[None]:
    hooks = Hooks("testing")

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(original)(lambda *args, **kwargs: replacement(original, args, kwargs))

    hooks.replace(owner, name, wrap)
    try:
        yield
    finally:
        hooks.undo()


def _entry_points(module: ModuleType) -> list[str]:
    names = [installed.name for installed in plugins.status() if installed.module == module.__name__]
    assert names, (
        f"{module.__name__} is not installed as a plug-in: its pyproject.toml needs a line for it under "
        f'[project.entry-points."{plugins.GROUP}"], named after the framework\'s package; then: pip install -e .'
    )
    return names


def _needs_active(name: str) -> None:
    plugin = plugins.installed()[name]
    if plugin.state == "waiting":
        raise AssertionError(
            f"{name} is not imported by train(): the entry point must be named after the framework's package, because "
            "the plug-in waits for its import"
        )
    assert plugin.state == "active", f"{name} is {plugin.state}: {plugin.reason}"


def _one_run(store: Any, rule: str) -> list[Any]:
    runs = list(store.runs())
    assert len(runs) == 1, f"{rule}: there are {len(runs)} ({', '.join(str(run.name) for run in runs)})"
    return runs


def _needs_equal(left: Any, right: Any, rule: str) -> None:
    assert _equal(left, right), f"{rule}: {left!r} became {right!r}"


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    same = left == right
    return bool(same.all()) if hasattr(same, "all") else bool(same)
