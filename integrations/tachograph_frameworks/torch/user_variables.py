"""What the user's code holds in its variables: its models, optimizers and schedulers, under their own names."""

from __future__ import annotations

import dis
import gc
import inspect
import os
import sys
from collections import Counter, deque
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple

from torch import Tensor, nn

from tachograph import guard
from tachograph.runtime import stack_frames

_SKIPPED = {"torch", "accelerate", "lightning", "lightning_fabric"}
# What starts programs, and holds none of a training's objects; thousands of its own would be looked through.
_STARTERS = {"IPython", "_pytest", "click", "fire", "hydra", "ipykernel", "pluggy", "tornado", "traitlets", "typer"}
_STANDARD = f"{os.path.dirname(os.__file__)}{os.sep}"
_INSTALLED = (f"{_STANDARD}site-packages{os.sep}", f"{_STANDARD}dist-packages{os.sep}")
_CLOSED = (str, bytes, int, float, complex, type, ModuleType, FunctionType, CodeType, FrameType, Tensor)
# What has no parts of interest, and of which there may be much: it does not count as looked at.
_LEAVES = {*_CLOSED, bool, bytearray, type(None), BuiltinFunctionType, MethodType, nn.Parameter}
_MOST_ITEMS = 100  # of a list or of an object's attributes
_MOST_PATHS = 3  # to one object: ``self``, ``agent`` and ``agents[0]``
_MOST_LOOKED_AT = 3000  # objects in one search
_OF_MODULES = {"_modules", "_parameters", "_buffers"}  # parts of a module, which are seen with it
_OUTSIDE = 1000  # more than there are frames with variables of their own
_DEEPEST = 4  # names in a path: ``agents.0.nets.actor``


_SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

LocalVariable = tuple[CodeType, str]  # a function, and a variable that it has
Calls = tuple[int, ...]  # generators and coroutines, each by the id of its frame, which lives as long as it does


class Home(NamedTuple):
    """The call of a function that has an object in a variable: the id of its frame, and its code."""

    frame_id: int
    code: CodeType


class VariablePath(NamedTuple):
    """A path from a variable to an object: ``("agents", "0", "opt")``.

    ``frame`` is the number of the frame that has the variable, 0 the innermost, and ``is_item`` says that the last
    part is a key or a number, no attribute.
    """

    names: tuple[str, ...]
    value: Any
    frame: int
    is_item: bool

    @property
    def name(self) -> str:
        """How it is shown: without ``self``."""
        return ".".join(self.names[1:] if self.names[0] in ("self", "trainer") and len(self.names) > 1 else self.names)


class Sight:
    """What can be seen from here of some kinds of objects, in the variables of the functions that are running.

    An object is found in a variable, in attributes, lists and dicts of one, some levels deep. No code of the user's is
    run by the search, an object that raises is passed over, and nothing is kept alive for longer than this is.
    """

    def __init__(self, *kinds: type) -> None:
        self._kinds = kinds
        self._frames = _user_frames(sys._getframe(1))

    @cached_property
    def paths(self) -> list[VariablePath]:
        """The paths to the objects that are seen."""
        return list(self._search())

    @property
    def is_empty(self) -> bool:
        """Whether no object is seen: quicker than to look for all of them."""
        return next(self._search(), None) is None

    def of(self, kind: type) -> list[Any]:
        """The objects of a kind, each once, the nearest first."""
        return list({id(path.value): path.value for path in self.paths if isinstance(path.value, kind)}.values())

    def name(self, value: Any, taken: Any = ()) -> str | None:
        """The name by which the user tells it from its like: not one of ``taken``; None where it is in no variable."""
        path = self.path(value, taken)
        return None if path is None else path.name

    def path(self, value: Any, taken: Any = ()) -> VariablePath | None:
        """The best path to it: one that others like it have too, else the shortest, and of these the outermost.

        A loop's own variable, which holds the next one soon, comes after the list that the loop goes through.
        """
        own_paths = [path for path in self.paths if path.value is value and path.name not in taken]
        kind = next((kind for kind in self._kinds if isinstance(value, kind)), object)
        others = [path for path in self.paths if path.value is not value and isinstance(path.value, kind)]
        clear = [path for path in own_paths if not any(_is_hidden_by(path, other) for other in others)]

        def rank(path: VariablePath) -> tuple[bool, bool, int, int]:
            is_alone = not any(_are_siblings(path.names, other.names) for other in others)
            return self._is_loop_variable(path), is_alone, len(path.names), -path.frame

        return min(clear or own_paths, key=rank, default=None)

    def _is_loop_variable(self, path: VariablePath) -> bool:
        """Whether it is a variable whose value is in a list with others, of which one has no variable of its own."""
        if len(path.names) > 1:
            return False
        items = [other for other in self.paths if other.is_item]
        lists = {item.names[:-1] for item in items if item.value is path.value}
        named = {id(other.value) for other in self.paths if len(other.names) == 1}
        return any(item.names[:-1] in lists and id(item.value) not in named for item in items)

    def local_variable(self, value: Any) -> LocalVariable | None:
        """The innermost function that has it in a variable, and that variable's name."""
        direct = [path for path in self.paths if path.value is value and len(path.names) == 1 and path.frame < _OUTSIDE]
        return (self._frames[direct[0].frame].f_code, direct[0].names[0]) if direct else None

    def home(self, path: VariablePath | None) -> Home | None:
        """The call that has the variable a path begins with; None where that is a global one."""
        if path is None or path.frame >= _OUTSIDE:
            return None
        frame = self._frames[path.frame]
        return Home(id(frame), frame.f_code)

    def are_in_one_list(self, one: Any, other: Any) -> bool:
        """Whether they are in the same list or dict."""
        items = [path for path in self.paths if path.is_item]
        lists = [{item.names[:-1] for item in items if item.value is value} for value in (one, other)]
        return not lists[0].isdisjoint(lists[1])

    def is_used(self, value: Any, method: str) -> bool:
        """Whether the loops that run now mention the variable of ``value``, or the functions that run, or that these
        name, call a method on it."""
        names = {path.names[-1] for path in self.paths if path.value is value}
        is_mentioned = any(_mentions(frame, names) for frame in self._frames)
        return is_mentioned or any(_calls(code, names, method) for code in self._codes())

    def _codes(self) -> Iterator[CodeType]:
        for frame in self._frames:
            yield frame.f_code
            owner = type(stack_frames.variable(frame, "self"))
            for name in frame.f_code.co_names:
                for function in (frame.f_globals.get(name), inspect.getattr_static(owner, name, None)):
                    if isinstance(function, FunctionType):
                        yield function.__code__

    def _search(self) -> Iterator[VariablePath]:
        seen: Counter[int] = Counter()
        queue = deque((path, False) for path in self._roots())
        for _ in range(_MOST_LOOKED_AT):
            if not queue:
                break
            path, is_part = queue.popleft()
            is_module = issubclass(type(path.value), nn.Module)  # which may have its optimizer in an attribute
            if issubclass(type(path.value), self._kinds):
                if not (is_part and is_module):  # those in a module are its parts
                    yield path
                if not is_module:
                    continue
            seen[id(path.value)] += 1
            if len(path.names) >= _DEEPEST or seen[id(path.value)] > _MOST_PATHS:
                continue
            queue.extend(
                (VariablePath((*path.names, name), part, path.frame, is_item), is_part or is_module)
                for name, part, is_item in parts(path.value)
                if type(part) not in _LEAVES
            )

    def _roots(self) -> Iterator[VariablePath]:
        """The local variables, then the global ones: those of a script that runs are its own frame's."""
        spaces: dict[int, tuple[int, dict[str, Any]]] = {}
        for number, frame in enumerate(self._frames):
            if frame.f_code.co_flags & inspect.CO_OPTIMIZED or frame.f_locals is not frame.f_globals:
                yield from _paths(stack_frames.variables(frame), number)
                spaces.setdefault(id(frame.f_globals), (number + _OUTSIDE, frame.f_globals))
            else:
                spaces[id(frame.f_globals)] = number, frame.f_globals
        for number, space in spaces.values():
            yield from _paths(dict(space), number)


def _paths(variables: dict[str, Any], frame: int) -> Iterator[VariablePath]:
    return (
        VariablePath((name,), value, frame, False)
        for name, value in variables.items()
        if type(value) not in _LEAVES and not name.startswith("__")
    )


def _user_frames(frame: FrameType | None) -> list[FrameType]:
    return [caller for caller in stack_frames.outward(frame) if not _is_library(caller)]


def value_of(variable: LocalVariable | None) -> Any:
    """What the variable holds now, where the function is the innermost one of the user's that runs; else None."""
    frame = _innermost(sys._getframe(1))
    if variable is None or frame is None or frame.f_code is not variable[0]:
        return None
    return stack_frames.variable(frame, variable[1])


def innermost_call() -> Home | None:
    """The innermost call of a function of the user's."""
    frame = _innermost(sys._getframe(1))
    return None if frame is None else Home(id(frame), frame.f_code)


def _innermost(frame: FrameType) -> FrameType | None:
    return next((caller for caller in stack_frames.outward(frame) if not _is_library(caller)), None)


def suspendable_calls() -> Calls:
    """The generators and coroutines of the user's that are at work here, the outermost first.

    What happens in one of them may be followed by what others do, before it goes on.
    """
    callers = stack_frames.outward(sys._getframe(1))
    calls = [id(caller) for caller in callers if caller.f_code.co_flags & _SUSPENDABLE and not _is_library(caller)]
    return tuple(reversed(calls))


def are_related(one: Calls, other: Calls) -> bool:
    """Whether one of them was called by the other, or they are the same."""
    return all(a == b for a, b in zip(one, other, strict=False))


def is_elsewhere(home: Home) -> bool:
    """Whether a call goes on elsewhere: in another thread, or in a generator or coroutine that is suspended."""
    here = stack_frames.outward(sys._getframe(1))
    if any(_is(frame, home) for frame in here):
        return False
    threads = (frame for top in sys._current_frames().values() for frame in stack_frames.outward(top))
    return any(_is(frame, home) for frame in threads) or (
        bool(home.code.co_flags & _SUSPENDABLE) and any(_is(frame, home) for frame in _suspended_frames())
    )


def _is(frame: FrameType, home: Home) -> bool:
    return id(frame) == home.frame_id and frame.f_code is home.code


def _suspended_frames() -> Iterator[FrameType]:
    """The frames of all generators and coroutines that have not ended. To look at all objects takes tens of
    milliseconds."""
    for value in gc.get_objects():
        kind = type(value)
        frame = None
        if kind is GeneratorType:
            frame = value.gi_frame
        elif kind is CoroutineType:
            frame = value.cr_frame
        elif kind is AsyncGeneratorType:
            frame = value.ag_frame
        if frame is not None:
            yield frame


def _is_library(frame: FrameType) -> bool:
    module, file = str(frame.f_globals.get("__name__")).partition(".")[0], frame.f_code.co_filename
    is_standard = file.startswith(_STANDARD) and not file.startswith(_INSTALLED)
    return is_standard or module in _SKIPPED or module in _STARTERS or guard.is_ours(file)


def parts(value: Any) -> list[tuple[str, Any, bool]]:
    """The items or attributes of an object, read without running any code of its class."""
    kind = type(value)
    try:
        if issubclass(kind, _CLOSED):
            return []
        if issubclass(kind, dict):
            return [(str(key), item, True) for key, item in _first(dict.items(value)) if type(key) in (str, int)]
        if issubclass(kind, list | tuple):
            items = list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value)
            return [(str(index), item, True) for index, item in enumerate(_first(items))]
        if kind.__module__ == "builtins":
            return []
        return [(name, part, False) for name, part in _attributes(value, kind) if not name.startswith("__")]
    except guard.FAULTS:  # the object is somebody else's, and not ours to judge
        return []


def _attributes(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    namespace = object.__getattribute__(value, "__dict__") if kind.__dictoffset__ else {}
    if type(namespace) is dict:
        attributes = [(name, part) for name, part in namespace.items() if type(name) is str and name not in _OF_MODULES]
        yield from _first(attributes)
    for base in kind.__mro__:
        for name, member in list(vars(base).items()) if "__slots__" in vars(base) else ():
            if type(member) is MemberDescriptorType and (part := _slot(member, value)) is not None:
                yield name, part


def _slot(member: MemberDescriptorType, value: Any) -> Any:
    try:
        return member.__get__(value, type(value))
    except AttributeError:  # nothing is in it
        return None


def _first(items: Any) -> Iterator[Any]:
    return iter(list(islice(items, _MOST_ITEMS)))


def _are_siblings(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _is_hidden_by(path: VariablePath, other: VariablePath) -> bool:
    """Whether the name says no more than another object's: ``opt`` of ``self`` beside ``b.opt``."""
    return other.name == path.name or other.name.endswith(f".{path.name}")


def _mentions(frame: FrameType, names: set[str]) -> bool:
    """Whether a loop of the frame's code that is at work has one of some names in it."""
    steps = list(dis.get_instructions(frame.f_code)) if names.intersection(_names(frame.f_code)) else []
    loops = [(step.argval, step.offset) for step in steps if "JUMP_BACKWARD" in step.opname]
    running = [(start, end) for start, end in loops if start <= frame.f_lasti <= end]
    return any(
        type(step.argval) is str and step.argval in names
        for step in steps
        for start, end in running
        if start <= step.offset <= end
    )


def _names(code: CodeType) -> tuple[str, ...]:
    return code.co_names + code.co_varnames + code.co_cellvars + code.co_freevars


def _calls(code: CodeType, names: set[str], method: str) -> bool:
    """Whether it has ``name.method(…)`` or ``something.method(name)``."""
    if method not in code.co_names:
        return False
    steps = [instruction.argval for instruction in dis.get_instructions(code)]
    calls = [index for index, value in enumerate(steps) if value == method]
    return any(value in names for call in calls for value in steps[max(call - 1, 0) : call + 4] if type(value) is str)
