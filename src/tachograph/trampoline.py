"""Stand-ins: functions that jump to hooks, and otherwise can't be told from the function that they stand for.

A hooked function of a module stays the object that it is: only its code is exchanged, for one with the same parameters
that jumps to the hooks. So whoever has the function, under whatever name and since whenever, reaches them; and
everything that looks at a function (``pickle`` by its name, ``inspect``, ``functools.wraps``, joblib, a compiler's
rules) finds what it always found. A stand-in for a method is a function of its own, made in the same way.

The code that is put into a module's function holds nothing but names and numbers, so that a compiler which reads
bytecode (torch's dynamo) can follow it. It finds in this module, by number, where to jump to: ``original_7`` is what
the function did before, ``hooked_7`` goes there through the hooks. A call costs a third of a microsecond more for it.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from types import CellType, CodeType, FunctionType
from typing import Any, TypeAlias

Function: TypeAlias = Callable[..., Any]
Wrap: TypeAlias = Callable[[Function], Function]

_TARGET = "__tachograph_target"
# As ``inspect`` calls the flags of code, which takes a while to import; the last are those of generators and the like.
_VARARGS, _VARKEYWORDS, _SUSPENDED = 0x04, 0x08, 0x20 | 0x80 | 0x200
_JUMP = (
    "import tachograph as {target}; {target} = {target}.trampoline; "
    "return ({target}.original_{number} if {target}.tracing() else {target}.hooked_{number})({arguments})"
)


# Whether a compiler is reading the code here and now, rather than running it: then hooks have nothing to hear.
tracing: Callable[[], bool] = bool


def is_stand_in(code: CodeType) -> bool:
    """Whether ``code`` was made here; it says that it stands in the original's file."""
    return any(name.startswith(_TARGET) for name in (*code.co_varnames, *code.co_freevars))


def stand_in(call: Function, original: Function) -> Function:
    """A function that does what ``call`` does, and looks like ``original``."""
    if not isinstance(original, FunctionType):
        return functools.update_wrapper(call, original)
    target = f"{_TARGET}_{len(original.__code__.co_freevars)}"  # it may stand in for a stand-in
    code = _code(original, f"return {target}({{arguments}})", target)
    cells = dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))
    cells[target] = CellType(call)
    return _like(original, code, tuple(cells[name] for name in code.co_freevars))


class _Detour:
    """A function of a module whose code was exchanged, and the hooks that its calls go through."""

    def __init__(self, function: FunctionType, number: int) -> None:
        self.function, self.number = function, number
        self.original = _like(function, function.__code__, function.__closure__)
        self._code = _code(function, _JUMP.replace("{number}", str(number)).replace("{target}", _TARGET))
        self._layers: list[Wrap] = []

    def is_current(self) -> bool:
        """Whether nobody else has exchanged the function's code."""
        return self.function.__code__ in (self._code, self.original.__code__)

    def add(self, wrap: Wrap) -> None:
        """Let calls go through ``wrap(target)``, where ``target`` is what they went to so far."""
        self._layers.append(wrap)
        self._lead()
        self.function.__code__ = self._code

    def remove(self, wrap: Wrap) -> None:
        """Undo :meth:`add`. After the last one the function has its own code again, unless somebody else has changed
        it."""
        self._layers.remove(wrap)
        self._lead()
        if not self._layers and self.function.__code__ is self._code:
            self.function.__code__ = self.original.__code__

    def _lead(self) -> None:
        # These names stay for good: a thread may be on its way here while the last hook is removed.
        target: Function = self.original
        for wrap in self._layers:
            target = wrap(target)
        globals().update({f"original_{self.number}": self.original, f"hooked_{self.number}": target})


_detours: dict[FunctionType, _Detour] = {}
_numbers = itertools.count(1)


def divert(function: FunctionType, wrap: Wrap) -> Callable[[], None]:
    """Let all calls of ``function`` go through ``wrap(original)``, around the hooks that it goes through already.

    Returns a function that undoes it.
    """
    _follow_compilers()
    detour = _detours.get(function)
    if detour is None or not detour.is_current():
        detour = _detours[function] = _Detour(function, next(_numbers))
    detour.add(wrap)
    return functools.partial(detour.remove, wrap)


def _follow_compilers() -> None:
    """Let ``tracing`` be torch's own test, which its compiler takes for true while it reads code: so it leaves out the
    hooks."""
    global tracing
    compiler = getattr(sys.modules.get("torch"), "compiler", None)
    tracing = getattr(compiler, "is_dynamo_compiling", tracing)


def _like(function: FunctionType, code: CodeType, closure: tuple[CellType, ...] | None) -> FunctionType:
    """A function with other ``code`` that shares everything else with ``function``, also what is put on it later."""
    twin = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    twin.__kwdefaults__ = function.__kwdefaults__
    for name in functools.WRAPPER_ASSIGNMENTS:
        setattr(twin, name, getattr(function, name))
    twin.__dict__ = function.__dict__
    return twin


def _code(function: FunctionType, body: str, *more: str) -> CodeType:
    """Code with the parameters, the free variables (and ``more`` of them) and the place of that of ``function``."""
    original = function.__code__
    parameters, arguments = _parameters(original)
    free = [*original.co_freevars, *more]
    outer = ", ".join(free)
    captured = f"nonlocal {outer}; " if free else ""
    source = f"""
def outer({outer}):
    def inner({parameters}): {captured}__tracebackhide__ = True; {body.format(arguments=arguments)}
    return inner.__code__
"""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    code: CodeType = namespace["outer"](*free)
    return code.replace(
        co_filename=original.co_filename,
        co_firstlineno=original.co_firstlineno,
        co_name=original.co_name,
        co_qualname=original.co_qualname,
        co_flags=original.co_flags & ~_SUSPENDED,
    )


def _parameters(code: CodeType) -> tuple[str, str]:
    """The parameters as they are declared, and as they are passed on."""
    names = list(code.co_varnames)
    positional, by_keyword = names[: code.co_argcount], names[code.co_argcount :][: code.co_kwonlyargcount]
    rest = iter(names[code.co_argcount + code.co_kwonlyargcount :])
    declared, passed = list(positional), list(positional)
    if code.co_posonlyargcount:
        declared.insert(code.co_posonlyargcount, "/")
    if code.co_flags & _VARARGS:
        passed.append(f"*{next(rest)}")
        declared.append(passed[-1])
    elif by_keyword:
        declared.append("*")
    declared += by_keyword
    passed += [f"{name}={name}" for name in by_keyword]
    if code.co_flags & _VARKEYWORDS:
        passed.append(f"**{next(rest)}")
        declared.append(passed[-1])
    return ", ".join(declared), ", ".join(passed)
