"""The test kit for plug-ins passes a good one, and says of a bad one which rule it breaks."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.conftest import Site

import tachograph
from tachograph.testing import check_plugin, recorded

FRAMEWORK = """
class Model:
    def fit(self, X, callbacks=None):
        self.losses = []
        for step in range(3):
            self.losses.append(len(X) / (step + 1))
            for callback in callbacks or ():
                callback.after(step, self.losses[-1])
        return self.losses

class Other:
    def score(self):
        return 1.0
"""
TRAINING = """
import toyframe

toyframe.used = True

def train():
    return toyframe.Model().fit([1, 2, 3], callbacks=[])
"""
GOOD = """
import tachograph, toyframe
from tachograph.hooks import session, shield

class TachographCallback:
    @shield
    def after(self, step, loss):
        run = tachograph.active_run()
        if run is not None:
            run.log({"loss": loss}, step)

def note(call, open_session):
    yield

FIT = session.training(note, plugin="toyframe", name=lambda call: "Model")

def install(hooks):
    hooks.inject(toyframe.Model, "fit", argument="callbacks", make=lambda call: TachographCallback())
    hooks.around(toyframe.Model, "fit", FIT)
"""


@pytest.fixture
def train(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """The user's program."""
    site.framework(code=FRAMEWORK)
    site.plugin(GOOD)
    site.write("toyframe_training.py", TRAINING)
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    function: Callable[[], Any] = importlib.import_module("toyframe_training").train
    return function


@pytest.mark.slow
def test_a_good_plugin_passes(train: Callable[[], Any]) -> None:
    check_plugin("toyframe_tachograph", train)
    check_plugin(sys.modules["toyframe_tachograph"], train)


SINGLE = """
class Model:
    def fit(self, X, after=None):
        for step in range(3):
            if after is not None:
                after(step, len(X) / (step + 1))
        return len(X)
"""
SINGLE_TRAINING = """
import toyframe

def train():
    seen = []
    toyframe.Model().fit([1, 2], lambda step, loss: seen.append(loss))
    return seen
"""
SINGLE_PLUGIN = """
import tachograph, toyframe
from tachograph.hooks import session, shield

@shield
def record(step, loss):
    tachograph.active_run().log({"loss": loss}, step)

def both(given, ours):
    def call(step, loss):
        ours(step, loss)
        return None if given is None else given(step, loss)
    return call

def note(call, open_session):
    yield

def install(hooks):
    hooks.inject(toyframe.Model, "fit", argument="after", make=lambda call: record, combine=both)
    hooks.around(toyframe.Model, "fit", session.training(note, plugin="toyframe", name=lambda call: "Model"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("shielded", [True, False])
def test_a_framework_with_a_single_callback(site: Site, monkeypatch: pytest.MonkeyPatch, shielded: bool) -> None:
    site.framework(code=SINGLE)
    site.plugin(SINGLE_PLUGIN if shielded else SINGLE_PLUGIN.replace("@shield", ""))
    site.write("toyframe_single.py", SINGLE_TRAINING)
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    train = importlib.import_module("toyframe_single").train
    if shielded:
        check_plugin("toyframe_tachograph", train)
    else:
        with pytest.raises(AssertionError, match=r"hooks\.shield"):
            check_plugin("toyframe_tachograph", train)


PATCHED = """
def install(hooks):
    original = toyframe.Model.fit
    def fit(self, X, callbacks=None):
        {body}
    toyframe.Model.fit = fit
    hooks.native(lambda: setattr(toyframe.Model, "fit", {restored}))
    hooks.around(toyframe.Model, "fit", FIT)
"""
BAD = {
    "lets faults of its callback out": (
        "decorate what the framework calls of a callback with hooks.shield",
        GOOD.replace("    @shield\n", ""),
    ),
    "draws random numbers": (
        "random numbers must come as they do without autolog: those of random do not",
        GOOD.replace("def note(call, open_session):", "import random\ndef note(call, open_session):\n"
                     "    random.random()"),
    ),
    "warns the user's program": (
        "the user's program must not be warned of what the plug-in does: UserWarning: look",
        GOOD + PATCHED.format(
            body='__import__("warnings").warn("look")\n        return original(self, X, callbacks)',
            restored="original"),
    ),
    "names its run after nobody": (
        "'toyframes' has opened the run: no plug-in is called so",
        GOOD.replace('plugin="toyframe"', 'plugin="toyframes"'),
    ),
    "makes no run": (
        "one training makes one run: there are 0",
        GOOD.replace('"fit", FIT', '"fit", lambda call: note(call, None)'),
    ),
    "leaves its run open": (
        "after the training no run may be active",
        GOOD + "\nopened = []\ndef watch(call):\n    opened.append(tachograph.start_run())\n    yield\n\n"
        'def install(hooks):\n    hooks.around(toyframe.Model, "fit", watch)\n',
    ),
    "makes a run inside the user's": (
        "a training inside the user's run adds to that one",
        GOOD + "\nimport contextvars\n\ndef watch(call):\n    run = contextvars.Context().run(tachograph.start_run)\n"
               "    try:\n        yield\n    finally:\n        run.finish()\n"
               '\ndef install(hooks):\n    hooks.around(toyframe.Model, "fit", watch)\n',
    ),
    "changes the result": (
        "the result must be the same with and without autolog",
        GOOD + PATCHED.format(body="return original(self, X + X, callbacks)", restored="original"),
    ),
    "changes the user's list": (
        "a list that was given to Model.fit was changed",
        GOOD.replace("def note(call, open_session):", "def note(call, open_session):\n"
                     '    call.argument("callbacks").append(TachographCallback())'),
    ),
    "does not undo": (
        "undo must restore the identical object of Model.fit",
        GOOD + PATCHED.format(body="return original(self, X, callbacks)", restored="lambda *args: original(*args)"),
    ),
    "does not undo what is not called": (
        "undo must restore the identical object of Other.score",
        GOOD.replace("def install(hooks):", "def install(hooks):\n"
                     '    hooks.around(toyframe.Other, "score", lambda call: note(call, None))\n'
                     "    hooks._undo.clear()"),
    ),
    "swallows the user's exception": (
        "must come through as the same object",
        GOOD + PATCHED.format(
            body="try:\n            return original(self, X, callbacks)\n"
                 "        except ZeroDivisionError:\n            raise ZeroDivisionError from None",
            restored="original"),
    ),
    "records in a rank that records nothing": (
        r"current\(\).run is None in a rank that records nothing",
        GOOD.replace("run = tachograph.active_run()", "run = session.current().run")
            .replace("        if run is not None:\n            run.log", "        run.log"),
    ),
    "changes the result in a rank that records nothing": (
        "the result must be the same in a rank that records nothing",
        GOOD + PATCHED.format(
            body="rank = session.current() is not None and session.current().run is None\n"
                 "        return original(self, X + X if rank else X, callbacks)",
            restored="original"),
    ),
    "sets an attribute of a class by itself": (
        "undo must restore the identical object of Other.score: install has set it",
        GOOD.replace("def install(hooks):", "def install(hooks):\n    toyframe.Other.score = lambda self: 1.0"),
    ),
    "adds an attribute to a class by itself": (
        "undo must restore the identical object of Model.score: install has set it",
        GOOD.replace("def install(hooks):", "def install(hooks):\n    toyframe.Model.score = lambda self: 1.0"),
    ),
    "sets an attribute of a module by itself": (
        "undo must restore the identical object of toyframe.Other: install has set it",
        GOOD.replace("def install(hooks):", "def install(hooks):\n"
                     "    class Other(toyframe.Other): pass\n    toyframe.Other = Other"),
    ),
    "ends a hook before it yields": (
        "a wrapper must yield once: it ended before",
        GOOD.replace("def note(call, open_session):", "def note(call, open_session):\n"
                     '    if call.argument("X"):\n        return'),
    ),
    "misspells an argument": (
        "Model.fit has no argument 'x': it has self, X, callbacks",
        GOOD.replace("def note(call, open_session):", "def note(call, open_session):\n"
                     '    call.argument("x")'),
    ),
    "has a callback that does not pickle": (
        "the callback must pickle",
        GOOD + "\ndef make():\n    class TachographCallback:\n        @shield\n"
               "        def after(self, step, loss): pass\n"
               "    return TachographCallback\n\nTachographCallback = make()\n",
    ),
    "depends on the order of imports": (
        "autolog, then the framework",
        GOOD.replace("def install(hooks):", "def install(hooks):\n"
                     '    if not hasattr(toyframe, "used"):\n        return'),
    ),
    "hooks nothing of it": (
        "calls nothing that the plug-in hooks",
        GOOD + '\ndef install(hooks):\n    hooks.around(toyframe.Other, "score", FIT)\n',
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
def test_of_a_bad_plugin_the_broken_rule_is_named(site: Site, train: Callable[[], Any], fault: str) -> None:
    said, code = BAD[fault]
    site.plugin(code)
    with pytest.raises(AssertionError, match=said):
        check_plugin("toyframe_tachograph", train)


def test_a_program_that_differs_from_time_to_time(site: Site, train: Callable[[], Any]) -> None:
    results = iter(range(100))
    with pytest.raises(AssertionError, match="the same result each time"):
        check_plugin("toyframe_tachograph", lambda: (train(), next(results))[1])


@pytest.mark.slow
def test_an_argument_that_may_be_missing_has_a_default(site: Site, train: Callable[[], Any]) -> None:
    use = 'def note(call, open_session):\n    assert call.argument("weights", 3) == 3'
    site.plugin(GOOD.replace("def note(call, open_session):", use))
    check_plugin("toyframe_tachograph", train)


@pytest.mark.parametrize("name", ["toyframes", "my_toyframe"])
def test_an_entry_point_that_is_not_named_after_the_package(site: Site, train: Callable[[], Any], name: str) -> None:
    entry_point = f"[tachograph.plugins]\n{name} = toyframe_tachograph\n"
    site.distribution("toyframe-tachograph", "0.1", entry_point)
    with pytest.raises(AssertionError, match=f"{name} is not imported by train.*named after the framework's package"):
        check_plugin("toyframe_tachograph", train)


def test_a_framework_of_another_version(site: Site, train: Callable[[], Any]) -> None:
    site.plugin(f'REQUIRES = "toyframe<2"\n{GOOD}')
    with pytest.raises(AssertionError, match=r"toyframe is skipped: version 2\.5 is installed"):
        check_plugin("toyframe_tachograph", train)


def test_a_module_that_is_installed_nowhere(site: Site, train: Callable[[], Any]) -> None:
    site.write("toyframe_stray.py", GOOD)
    with pytest.raises(AssertionError, match="not installed as a plug-in"):
        check_plugin("toyframe_stray", train)


def test_a_program_that_could_not_be_run_elsewhere(site: Site, train: Callable[[], Any]) -> None:
    with pytest.raises(AssertionError, match="at the top of its module"):
        check_plugin("toyframe_tachograph", lambda: train())


@pytest.mark.slow
def test_a_program_that_is_checked_where_it_is_imported(site: Site, train: Callable[[], Any]) -> None:
    check = "from tachograph.testing import check_plugin\ncheck_plugin('toyframe_tachograph', train)\n"
    site.write("checked.py", f"{TRAINING}\n{check}")
    command = [sys.executable, str(site.folder / "checked.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "call it in a test" in done.stderr) == (1, True)


def test_what_was_recorded_can_be_read(train: Callable[[], Any]) -> None:
    with recorded("toyframe", tags={"a": "b"}) as store:
        train()
        train()
    with recorded("toyframe") as other:
        assert list(other.runs()) == []
    assert store.root != other.root
    assert tachograph.active_run() is None


@pytest.mark.slow
def test_it_leaves_nothing_behind(train: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    environment, framework = dict(os.environ), sys.modules["toyframe"]
    fit = framework.Model.fit
    check_plugin("toyframe_tachograph", train)
    assert framework.Model.fit is fit
    environment["TACHOGRAPH_PARENT"] = os.environ["TACHOGRAPH_PARENT"]
    assert dict(os.environ) == environment
