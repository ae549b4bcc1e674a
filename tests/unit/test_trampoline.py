"""A hooked function is the function that it was, whatever looks at it: only what a call of it does has changed."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import inspect
import io
import pickle
import pydoc
import re
import sys
import threading
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tachograph.hooks import Call, Hooks, Watcher

LIBRARY = '''
from __future__ import annotations
import functools

def decorated(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner

def train(data, /, rounds: int = 10, *more, rate: float = 0.1, **others) -> tuple:
    "Learn."
    return ("trained", data, rounds, more, rate, others)

@decorated
def predict(data, rounds=3):
    "Foresee."
    return ("predicted", data, rounds)

def late(*, callbacks=None):
    return [callback() for callback in callbacks or []]

def fail(error):
    raise error

def counted():
    counted.calls = getattr(counted, "calls", 0) + 1
    return counted.calls

class Model:
    """What trains."""

    def fit(self, X, y=None, *, callbacks: list | None = None, **more) -> Model:
        "Learn."
        return self

    def tell(self, X: int = 3):
        return super().__init__, X

held = {"train": train, "predict": predict}
'''

NAMES = ["train", "predict", "late", "Model.fit", "Model.tell"]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[ModuleType]:
    """A library, and a user that has imported from it by name."""
    path = tmp_path / "toy_library.py"
    path.write_text(LIBRARY)
    spec = importlib.util.spec_from_file_location("toy_library", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["toy_library"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["toy_library"]


def found(library: ModuleType, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), library)


def owner(library: ModuleType, name: str) -> tuple[Any, str]:
    path, _, last = name.rpartition(".")
    return (found(library, path) if path else library), last


def chatty(call: Call) -> Watcher:
    yield


def hook_three_times(hooks: Hooks, where: Any, name: str) -> None:
    hooks.inject(where, name, argument="callbacks", make=lambda call: None)
    hooks.around(where, name, chatty)
    hooks.listen(where, name, before=lambda *args, **kwargs: None)


def looks(function: Any) -> dict[str, Any]:
    """All that can be seen of a function, but for what its code does."""
    code = function.__code__
    return {
        "kind": (type(function), inspect.isfunction(function), callable(function), inspect.isroutine(function)),
        "names": (function.__name__, function.__qualname__, function.__module__),
        "texts": (function.__doc__, pydoc.render_doc(function, renderer=pydoc.plaintext)),
        "signature": (inspect.signature(function), inspect.getfullargspec(function)),
        "annotations": (function.__annotations__, typing.get_type_hints(function)),
        "defaults": (function.__defaults__, function.__kwdefaults__),
        "source": (inspect.getsource(function), inspect.getsourcefile(function)),
        "place": (code.co_filename, code.co_firstlineno, code.co_name, code.co_qualname),
        "counts": (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        "arguments": code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
        "free": len(code.co_freevars),
        "attributes": dict(vars(function)),
        "innermost": inspect.unwrap(function) is function,
        "globals": id(function.__globals__),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_hooked_function_looks_as_it_did(hooks: Hooks, library: ModuleType, name: str) -> None:
    before = looks(found(library, name))
    hook_three_times(hooks, *owner(library, name))
    after = looks(found(library, name))
    if name.startswith("Model."):  # it has one free variable for each hook
        assert after.pop("free") == before.pop("free") + 3
    assert after == before


def test_the_free_variables_of_a_function_stay(hooks: Hooks, library: ModuleType) -> None:
    before = inspect.getclosurevars(library.predict).nonlocals
    assert list(before) == ["function"]
    hooks.around(library, "predict", chatty)
    assert inspect.getclosurevars(library.predict).nonlocals == before
    assert library.predict("data") == ("predicted", "data", 3)


@pytest.mark.parametrize("name", ["train", "predict", "late"])
def test_a_function_of_a_module_stays_the_same_object(hooks: Hooks, library: ModuleType, name: str) -> None:
    function, code = found(library, name), found(library, name).__code__
    hook_three_times(hooks, library, name)
    assert found(library, name) is function
    assert function.__code__ is not code
    hooks.undo()
    assert found(library, name) is function
    assert function.__code__ is code


def test_every_way_to_call_it(hooks: Hooks, library: ModuleType) -> None:
    calls = [((1,), {}), ((1, 2, 3, 4), {"rate": 5, "z": 6}), ((1,), {"rounds": 2, "data": 3}), ((1,), {"self": 1})]
    before = [library.train(*args, **kwargs) for args, kwargs in calls]
    hook_three_times(hooks, library, "train")
    assert [library.train(*args, **kwargs) for args, kwargs in calls] == before


@pytest.mark.parametrize("arguments", [(), (1, 2, 3)])
def test_a_call_that_does_not_fit_says_what_it_said(hooks: Hooks, library: ModuleType, arguments: Any) -> None:
    with pytest.raises(TypeError) as before:
        library.fail(*arguments)
    hooks.around(library, "fail", chatty)
    with pytest.raises(TypeError) as after:
        library.fail(*arguments)
    assert str(after.value) == str(before.value)


def test_defaults_that_are_changed_meanwhile_count(hooks: Hooks, library: ModuleType) -> None:
    hooks.around(library, "train", chatty)
    library.train.__defaults__ = (20,)
    library.train.__kwdefaults__["rate"] = 0.5
    assert library.train("data") == ("trained", "data", 20, (), 0.5, {})
    hooks.undo()
    assert library.train("data") == ("trained", "data", 20, (), 0.5, {})


def test_what_is_put_on_a_function_stays_on_it(hooks: Hooks, library: ModuleType) -> None:
    assert library.counted() == 1
    hooks.around(library, "counted", chatty)
    assert library.counted() == 2
    library.counted.mark = "mine"
    hooks.undo()
    assert (library.counted(), library.counted.mark) == (3, "mine")


@pytest.mark.parametrize("name", ["fail", "Model.fit"])
def test_a_notebooks_traceback_is_without_our_frames(hooks: Hooks, library: ModuleType, name: str) -> None:
    ultratb = pytest.importorskip("IPython.core.ultratb")
    library.Model.fit = lambda self, X: library.fail(X)

    def shown() -> list[str]:
        error = ZeroDivisionError("theirs")
        with pytest.raises(ZeroDivisionError) as caught:
            library.fail(error) if name == "fail" else library.Model().fit(error)
        parts = ultratb.VerboseTB().structured_traceback(caught.type, caught.value, caught.tb)
        text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(parts))
        return [line for line in text.splitlines() if line.startswith("File ")]

    before = shown()
    assert before
    hook_three_times(hooks, *owner(library, name))
    assert len(shown()) == len(before)


# ---- several hooks, several names ------------------------------------------------------------------------------------


class Heard(list[str]):
    """The order in which watchers were called."""

    def watch(self, name: str) -> Callable[[Call], Watcher]:
        def watcher(call: Call) -> Watcher:
            self.append(f"{name} before")
            yield
            self.append(f"{name} after")

        return watcher


def test_a_hook_goes_on_top_of_the_one_before(hooks: Hooks, library: ModuleType) -> None:
    heard = Heard()
    hooks.inject(library, "late", argument="callbacks", make=lambda call: lambda: "ours")
    hooks.around(library, "late", heard.watch("inner"))
    hooks.around(library, "late", heard.watch("outer"))
    assert library.late(callbacks=[lambda: "theirs"]) == ["theirs", "ours"]
    assert heard == ["outer before", "inner before", "inner after", "outer after"]


def test_whoever_has_it_by_name_reaches_the_hooks(hooks: Hooks, library: ModuleType) -> None:
    heard = Heard()
    before = library.train
    aliases = ModuleType("aliases")
    aliases.learn = library.train  # type: ignore[attr-defined]
    hooks.around(aliases, "learn", heard.watch("alias"))
    for function in [before, library.train, library.held["train"], functools.partial(library.train)]:
        function("data")
    assert heard == ["alias before", "alias after"] * 4


def test_two_plugins_take_back_what_is_theirs(hooks: Hooks, library: ModuleType) -> None:
    heard, other, code = Heard(), Hooks("other"), library.train.__code__
    other.around(library, "train", heard.watch("other"))
    hooks.around(library, "train", heard.watch("ours"))
    other.undo()
    library.train("data")
    assert heard == ["ours before", "ours after"]
    hooks.undo()
    assert library.train.__code__ is code
    library.train("data")
    assert len(heard) == 2


def test_code_that_others_gave_it_meanwhile_stays(hooks: Hooks, library: ModuleType) -> None:
    heard, original = Heard(), library.late.__code__
    hooks.around(library, "late", heard.watch("first"))
    ours = library.late.__code__
    library.late.__code__ = (lambda *, callbacks=None: "theirs").__code__
    hooks.undo()
    assert library.late() == "theirs"
    library.late.__code__ = ours  # they put back what they found: it leads on to the original
    assert library.late(callbacks=[lambda: 3]) == [3]
    assert not heard
    again = Hooks("toy")
    again.around(library, "late", heard.watch("second"))
    assert library.late(callbacks=[lambda: 3]) == [3]
    assert heard == ["second before", "second after"]
    again.undo()
    assert library.late.__code__ is original


@pytest.mark.slow
def test_hooks_come_and_go_while_threads_call(hooks: Hooks, library: ModuleType) -> None:
    right = ("trained", "data", 10, (), 1, {})
    ended: list[Any] = []
    done = threading.Event()

    def call() -> None:
        result = right
        while result == right and not done.is_set():
            result = library.train("data", rate=1)
        ended.append(result)

    threads = [threading.Thread(target=call) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in range(300):
            used = Hooks("toy")
            hook_three_times(used, library, "train")
            used.undo()
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert ended == [right] * 4  # one that raises doesn't come to its end


# ---- copies on the way to another process ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_it_is_pickled_by_its_name(hooks: Hooks, library: ModuleType, name: str) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    before = found(library, name)
    plain = [pickle.dumps(before), cloudpickle.dumps(before)]
    hook_three_times(hooks, *owner(library, name))
    hooked = found(library, name)
    assert [pickle.dumps(hooked), cloudpickle.dumps(hooked)] == plain
    assert pickle.loads(plain[0]) is hooked
    assert copy.copy(hooked) is copy.deepcopy(hooked) is hooked
    if "." not in name:
        assert pickle.dumps(before) == plain[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_wraps_it_has_nothing_of_ours(hooks: Hooks, library: ModuleType, name: str) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    hook_three_times(hooks, *owner(library, name))
    hooked = found(library, name)

    @functools.wraps(hooked)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return hooked(*args, **kwargs)

    assert wrapper.__wrapped__ is hooked  # type: ignore[attr-defined]
    assert vars(wrapper) == {**vars(hooked), "__wrapped__": hooked}
    assert b"tachograph.hooks." not in cloudpickle.dumps(wrapper)
    assert cloudpickle.loads(cloudpickle.dumps(wrapper)).__name__ == hooked.__name__


def test_joblib_finds_what_it_kept_before(hooks: Hooks, library: ModuleType, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    assert memory.cache(library.train)("data", 4)[2] == 4
    hooks.around(library, "train", chatty)
    assert memory.cache(library.train).check_call_in_cache("data", 4)


# ---- compilers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Iterator[Any]:
    module: Any = pytest.importorskip("torch")
    module._dynamo.reset()
    yield module
    module._dynamo.reset()


@pytest.mark.slow
def test_a_compiler_reads_through_a_hook(hooks: Hooks, torch: Any) -> None:
    heard: list[float] = []
    net = torch.nn.Linear(3, 1)
    net(torch.ones(2, 3)).sum().backward()

    def clip() -> Any:
        return torch.nn.utils.clip_grad_norm_(net.parameters(), 100.0) + 1

    clip_grad = torch.nn.utils.clip_grad
    hooks.listen(clip_grad, "clip_grad_norm_", after=lambda _, norm: heard.append(float(norm)))
    hooks.around(clip_grad, "clip_grad_norm_", chatty)
    expected = clip()
    assert len(heard) == 1
    assert torch.compile(clip, backend="eager", fullgraph=True)() == expected
    assert torch._dynamo.explain(clip)().graph_break_count == 0
    assert torch.compile(clip_grad.clip_grad_norm_, backend="eager", fullgraph=True)([net.weight], 100.0)
    clip()
    assert len(heard) == 2


@pytest.mark.slow
def test_a_compiler_breaks_where_it_did(hooks: Hooks, torch: Any, tmp_path: Path) -> None:
    def seeded(x: Any) -> Any:
        y = x + 1
        torch.manual_seed(3)
        return y * 2

    def saved(x: Any) -> Any:
        y = x + 1
        torch.save(y, tmp_path / "y.pt")
        return torch.load(tmp_path / "y.pt") * 2

    def graphs() -> list[Any]:
        torch._dynamo.reset()
        found = [torch._dynamo.explain(function)(torch.ones(2)) for function in (seeded, saved)]
        return [(each.graph_count, each.graph_break_count, each.op_count) for each in found]

    before = graphs()
    assert before[0][1] > 0
    for module, name in [(torch.random, "manual_seed"), (torch.serialization, "save"), (torch.serialization, "load")]:
        hooks.around(module, name, chatty)
    assert graphs() == before


def test_a_script_is_made_of_the_functions_own_source(hooks: Hooks, torch: Any, library: ModuleType) -> None:
    path = Path(str(library.__file__)).with_name("toy_scripted.py")
    path.write_text("import torch\n\ndef double(x: torch.Tensor) -> torch.Tensor:\n    return x * 2\n")
    spec = importlib.util.spec_from_file_location("toy_scripted", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hooks.around(module, "double", chatty)
    with contextlib.redirect_stderr(io.StringIO()):
        scripted = torch.jit.script(module.double)
    assert "torch.mul(x, 2)" in scripted.code
    assert float(scripted(torch.tensor(4.0))) == float(module.double(torch.tensor(4.0))) == 8.0
