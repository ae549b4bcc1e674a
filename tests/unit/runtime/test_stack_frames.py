"""What is looked at lives no longer than it would."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Iterator

import pytest

import tachograph
from tachograph.runtime import stack_frames


class Held:
    """Something that a variable holds."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What is in a cycle stays alive."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_function_lets_go_of_what_it_deletes(no_collection):
    held, other = Held(), 3
    alive = weakref.ref(held)
    found = stack_frames.variables(sys._getframe())
    assert (found["held"], found["other"]) == (held, other)
    del held, found
    assert alive() is None
    assert stack_frames.variables(sys._getframe())["other"] == 3


def test_a_module_and_a_class_keep_their_names():
    namespace: dict[str, object] = {"variables": stack_frames.variables, "sys": sys}
    exec(
        "x = 1\nfound = variables(sys._getframe())\nclass A:\n    y = 2\n    z = variables(sys._getframe())", namespace
    )
    assert (namespace["x"], namespace["found"]["x"], namespace["A"].y, namespace["A"].z["y"]) == (1, 1, 2, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_what_a_caller_of_fork_holds_is_let_go_of(no_collection):
    def forks() -> weakref.ref[Held]:
        held = Held()
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        return weakref.ref(held)

    with tachograph.start_run():  # whose thread is looked at before a fork
        assert forks()() is None
