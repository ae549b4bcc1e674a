"""Hooked functions behave as if they were not, whatever the hooks do; undoing them leaves the identical objects."""

from __future__ import annotations

import copy
import functools
import importlib.util
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MethodDescriptorType, ModuleType
from typing import Any

import pytest
from tests.parts.hooked import STOPS, Base, Child, Grandchild, Seen, chatty

from tachograph import guard
from tachograph.errors import TachographWarning
from tachograph.hooks import Hooks

lenient = pytest.mark.usefixtures("faults_stay_inside")


# ---- watching --------------------------------------------------------------------------------------------------------


def test_a_method_is_called_once_with_the_callers_own_objects(hooks: Hooks) -> None:
    seen, base, X, more = Seen(), Base(), [1], {"a": 1}
    hooks.around(Base, "fit", seen.watch)
    found = base.fit(X, y=None, extra=more)
    assert found[0] is base
    assert found[1] is X
    assert found[4]["extra"] is more
    assert seen == [("before", (X, None), {"callbacks": None, "extra": more}), ("after", found)]
    assert seen[1][1] is found


def test_every_way_to_call_a_method(hooks: Hooks) -> None:
    seen, base = Seen(), Base()
    hooks.around(Base, "fit", seen.watch)
    bound = base.fit
    ways: list[Callable[[int], Any]] = [base.fit, bound, functools.partial(Base.fit, base)]
    ways.append(lambda X: Base.fit(self=base, X=X))
    for fit in ways:
        fit(3)
    Grandchild().fit(3)
    assert len([item for item in seen if item[0] == "after"]) == 5


@pytest.mark.parametrize("name", ["self", "wrapper", "site", "function", "call", "original", "args", "kwargs", "hooks"])
def test_arguments_of_any_name(hooks: Hooks, name: str) -> None:
    class Odd:
        def fit(*args: Any, **kwargs: Any) -> Any:
            return args[1:], kwargs

    hooks.around(Odd, "fit", chatty)
    hooks.inject(Odd, "fit", argument="callbacks", make=lambda call: None)
    assert Odd().fit(1, **{name: 2}) == ((1,), {name: 2})


def test_class_methods_static_methods_and_inherited_ones(hooks: Hooks) -> None:
    seen = Seen()
    for name in ["make", "helper"]:
        hooks.around(Base, name, seen.watch)
    hooks.around(Grandchild, "fit", seen.watch)
    assert Child.make(1) == (Child, 1)
    assert Base().make(2) == (Base, 2)
    assert Base.helper(3) == (3,)
    assert Base().helper(4) == (4,)
    assert isinstance(vars(Base)["make"], classmethod)
    assert isinstance(vars(Base)["helper"], staticmethod)
    grandchild = Grandchild()
    assert grandchild.fit(5)[0] is grandchild
    assert len(seen) == 10
    Child().fit(6)
    assert len(seen) == 10


def test_a_descriptor_that_carries_its_function(hooks: Hooks) -> None:
    seen, original = Seen(), vars(Base)["guarded"]
    hooks.around(Base, "guarded", seen.watch)
    base = Base()
    assert base.guarded(3) == (base, 3)
    assert len(seen) == 2
    base.closed = True  # type: ignore[attr-defined]
    assert not hasattr(base, "guarded")
    assert original.fn(base, 3) == (base, 3)
    assert len(seen) == 2
    hooks.undo()
    assert vars(Base)["guarded"] is original


def test_special_methods(hooks: Hooks) -> None:
    seen = Seen()
    hooks.around(Base, "__call__", seen.watch)
    assert Base()(3) == 3
    assert len(seen) == 2


@pytest.mark.parametrize("wrong", [("fits", AttributeError), ("number", TypeError), ("described", TypeError)])
def test_what_can_not_be_hooked(hooks: Hooks, wrong: tuple[str, type[Exception]]) -> None:
    class Owner:
        number = 3

        @property
        def described(self) -> int:
            return 3

    before = dict(vars(Owner))
    with pytest.raises(wrong[1]):
        hooks.around(Owner, wrong[0], chatty)
    assert dict(vars(Owner)) == before


def test_a_class_written_in_c_is_left_alone(hooks: Hooks) -> None:
    with pytest.raises(TypeError):
        hooks.around(dict, "update", chatty)
    assert isinstance(vars(dict)["update"], MethodDescriptorType)


def test_a_recursive_function_sees_its_own_limit(hooks: Hooks) -> None:
    class Deep:
        def dig(self, depth: int) -> int:
            return self.dig(depth + 1)

        def fit(self) -> str:
            try:
                self.dig(0)
            except RecursionError:
                return "survived"
            return ""

    hooks.around(Deep, "fit", chatty)
    hooks.around(Deep, "dig", chatty)
    guard.mute(True)
    assert Deep().fit() == "survived"


# ---- what can be seen of a hook --------------------------------------------------------------------------------------


def test_name_signature_and_text_are_kept(hooks: Hooks) -> None:
    before = inspect.signature(Base.fit), Base.fit.__doc__, Base.fit.__name__, Base.fit.__qualname__
    annotations = dict(Base.fit.__annotations__)
    hooks.around(Base, "fit", chatty)
    hooks.inject(Base, "fit", argument="callbacks", make=lambda call: None)
    assert (inspect.signature(Base.fit), Base.fit.__doc__, Base.fit.__name__, Base.fit.__qualname__) == before
    assert Base.fit.__annotations__ == annotations
    assert Base.fit.__module__ == Base.__module__
    assert inspect.isfunction(Base.fit)


def test_owners_and_their_methods_are_copied_and_pickled_as_ever(hooks: Hooks) -> None:
    base = Base()
    plain = pickle.dumps(base)
    hooks.around(Base, "fit", chatty)
    hooks.around(Base, "make", chatty)
    assert pickle.dumps(base) == plain
    for thing in [base, base.fit, Base.fit, Base, Child.make]:
        assert pickle.loads(pickle.dumps(thing)) is not None
        copy.deepcopy(thing)
    hooks.undo()
    assert isinstance(pickle.loads(plain), Base)


# ---- undoing ---------------------------------------------------------------------------------------------------------


def test_undo_restores_the_identical_objects(hooks: Hooks) -> None:
    classes = [Base, Child, Grandchild]
    before = [dict(vars(owner)) for owner in classes]
    for owner in classes:
        for name in ["fit", "make", "helper", "guarded", "__call__", "fail"]:
            hooks.around(owner, name, chatty)
        hooks.inject(owner, "fit", argument="callbacks", make=lambda call: None)
    hooks.undo()
    for owner, namespace in zip(classes, before, strict=True):
        assert vars(owner).keys() == namespace.keys()
        assert all(vars(owner)[name] is namespace[name] for name in namespace if name != "__dict__")
    hooks.undo()


def test_what_others_wrapped_on_top_stays_and_is_dormant_inside(hooks: Hooks) -> None:
    seen, original = Seen(), vars(Base)["fit"]
    hooks.around(Base, "fit", seen.watch)
    ours = Base.fit

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ["theirs", ours(*args, **kwargs)]

    Base.fit = theirs  # type: ignore[method-assign]
    try:
        hooks.undo()
        assert Base.fit is theirs
        assert Base().fit(3)[0] == "theirs"
        assert not seen
    finally:
        Base.fit = original  # type: ignore[method-assign]


def test_what_others_put_in_its_place_stays(hooks: Hooks) -> None:
    class Owner:
        def fit(self) -> None: ...

        def gone(self) -> None: ...

    hooks.around(Owner, "fit", chatty)
    hooks.around(Owner, "gone", chatty)
    Owner.fit = print  # type: ignore[method-assign,assignment]
    del Owner.gone
    hooks.undo()
    assert vars(Owner)["fit"] is print
    assert not hasattr(Owner, "gone")


def test_a_call_that_is_under_way_ends_as_it_began(hooks: Hooks) -> None:
    seen = Seen()

    class Owner:
        def fit(self) -> int:
            hooks.undo()
            return 3

    hooks.around(Owner, "fit", seen.watch)
    assert Owner().fit() == 3
    assert seen == [("before", (), {}), ("after", 3)]
    assert Owner().fit() == 3
    assert len(seen) == 2


def test_a_handle_of_the_host_is_removed(hooks: Hooks) -> None:
    removed: list[str] = []

    class Handle:
        def remove(self) -> None:
            removed.append("handle")

    hooks.native(Handle())
    hooks.native(lambda: removed.append("function"))
    hooks.undo()
    hooks.undo()
    assert removed == ["function", "handle"]


@lenient
def test_one_that_can_not_be_undone_does_not_keep_the_others(hooks: Hooks) -> None:
    before = vars(Base)["fit"]
    hooks.around(Base, "fit", chatty)
    hooks.native(lambda: 1 / 0)
    with pytest.warns(TachographWarning, match="toy: undo failed"):
        hooks.undo()
    assert vars(Base)["fit"] is before


# ---- adding callbacks ------------------------------------------------------------------------------------------------


def train(data: Any, rounds: int = 10, callbacks: Any = None) -> Any:
    return data, rounds, callbacks


class Trainer:
    """Takes callbacks in every way."""

    def named(self, X: Any, callbacks: Any = None) -> Any:
        return callbacks

    def keyword(self, X: Any, *, callbacks: Any = ()) -> Any:
        return callbacks

    def swallowing(self, X: Any, **kwargs: Any) -> Any:
        return kwargs.get("callbacks")

    def without(self, X: Any, y: Any = None) -> Any:
        return (X, y)


@pytest.fixture
def added(hooks: Hooks) -> str:
    for name in ["named", "keyword", "swallowing", "without"]:
        hooks.inject(Trainer, name, argument="callbacks", make=lambda call: "ours")
    return "ours"


@pytest.mark.parametrize("name", ["named", "keyword", "swallowing"])
def test_a_callback_is_added_and_the_users_list_left_alone(added: str, name: str) -> None:
    method = getattr(Trainer(), name)
    assert method(1) == [added]
    assert method(1, callbacks=None) == [added]
    users = ["theirs"]
    assert method(1, callbacks=users) == ["theirs", added]
    assert method(1, callbacks=tuple(users)) == ["theirs", added]
    assert users == ["theirs"]
    if name == "named":
        assert method(1, users) == ["theirs", added]
        assert method(1, None) == [added]
        assert users == ["theirs"]


@lenient
def test_a_callback_that_the_host_does_not_take_is_not_given_to_it(added: str) -> None:
    with pytest.warns(TachographWarning, match="toy: Trainer.without failed"):
        assert Trainer().without(1, y=2) == (1, 2)


@lenient
def test_an_argument_that_is_no_list_is_passed_on_as_it_is(added: str) -> None:
    single = object()
    with pytest.warns(TachographWarning):
        assert Trainer().named(1, callbacks=single) is single


@lenient
def test_a_maker_that_fails_or_declines(hooks: Hooks) -> None:
    hooks.inject(Trainer, "named", argument="callbacks", make=lambda call: None)
    users = ["theirs"]
    assert Trainer().named(1, callbacks=users) is users
    hooks.inject(Trainer, "named", argument="callbacks", make=lambda call: 1 / 0)
    with pytest.warns(TachographWarning, match="ZeroDivisionError"):
        assert Trainer().named(1, callbacks=users) is users


def test_a_way_to_combine_of_the_plugins_own(hooks: Hooks) -> None:
    hooks.inject(
        Trainer, "named", argument="callbacks", make=lambda call: "ours", combine=lambda theirs, ours: {theirs: ours}
    )
    assert Trainer().named(1, callbacks="x") == {"x": "ours"}


# ---- functions of modules --------------------------------------------------------------------------------------------

LIBRARY = """
def train(data, rounds=10):
    "Learn."
    return ("trained", data, rounds)

def fail(error):
    raise error

held = [train]
"""


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Callable[[str, str], ModuleType]]:
    """Writes modules, and imports them."""
    made = []

    def make(name: str, code: str) -> ModuleType:
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        made.append(name)
        spec.loader.exec_module(module)
        return module

    yield make
    for name in made:
        del sys.modules[name]


@pytest.fixture
def modules(library: Callable[[str, str], ModuleType]) -> list[ModuleType]:
    """A library's inner module, what it exports, and two users that have imported from it by name."""
    return [
        library("toy_inner", LIBRARY),
        library("toy", "from toy_inner import *"),
        library("toy_user", "from toy import train"),
        library("toy_other_user", "from toy import train as learn, fail; import toy"),
    ]


def test_a_function_is_hooked_for_everybody_who_has_imported_it(hooks: Hooks, modules: list[ModuleType]) -> None:
    inner, toy, user, other = modules
    seen, original = Seen(), inner.train
    hooks.around(toy, "train", seen.watch)
    for train in [toy.train, user.train, other.learn, other.toy.train]:
        assert train("data", rounds=3) == ("trained", "data", 3)
    assert len(seen) == 8
    assert inner.train is original
    hooks.undo()
    for train in [toy.train, user.train, other.learn, inner.train, inner.held[0]]:
        assert train is original


def test_a_hooked_function_looks_like_the_original(hooks: Hooks, modules: list[ModuleType]) -> None:
    inner, toy, user, _ = modules
    hooks.around(toy, "train", chatty)
    assert inspect.signature(toy.train) == inspect.signature(inner.train)
    assert (toy.train.__doc__, toy.train.__name__, toy.train.__module__) == ("Learn.", "train", "toy_inner")
    assert callable(toy.train)
    for function in [toy.train, user.train, inner.train, inner.held[0]]:
        assert pickle.loads(pickle.dumps(function)) is inner.train
        assert copy.deepcopy(function) is function


@pytest.mark.parametrize("error", STOPS, ids=lambda error: type(error).__name__)
def test_a_function_that_fails(hooks: Hooks, modules: list[ModuleType], error: BaseException) -> None:
    toy = modules[1]
    hooks.around(toy, "fail", chatty)
    with pytest.raises(type(error)) as caught:
        toy.fail(error)
    assert caught.value is error


# ---- listening -------------------------------------------------------------------------------------------------------


def test_listeners_hear_the_arguments_and_the_result(hooks: Hooks) -> None:
    heard: list[Any] = []
    hooks.listen(
        Base,
        "fit",
        before=lambda self, X, y=None, **more: heard.append((X, y)) or "noted",
        after=lambda noted, result: heard.append((noted, result)),
    )
    model = Base()
    result = model.fit(1, y=2)
    assert heard == [(1, 2), ("noted", result)]
    hooks.undo()
    model.fit(3)
    assert len(heard) == 2


@lenient
@pytest.mark.parametrize("spot", ["before", "after"])
def test_a_listeners_fault_changes_nothing(hooks: Hooks, spot: str) -> None:
    def fault(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("planted")

    plain = Base().fit(1)
    hooks.listen(Base, "fit", **{spot: fault})
    with pytest.warns(TachographWarning, match="planted"):
        assert type(Base().fit(1)) is type(plain)


def test_what_raises_is_heard_before_and_as_its_error(hooks: Hooks) -> None:
    heard: list[str] = []
    hooks.listen(
        Base,
        "fail",
        before=lambda *_: heard.append("before"),
        after=lambda *_: heard.append("after"),
        raised=lambda noted, error: heard.append(type(error).__name__),
    )
    error = ZeroDivisionError("the user's own")
    with pytest.raises(ZeroDivisionError) as caught:
        Base().fail(error)
    assert caught.value is error
    assert heard == ["before", "ZeroDivisionError"]
