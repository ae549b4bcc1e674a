"""Running a Python program inside this process as the interpreter would run it by itself.

The program gets ``__main__``, ``sys.argv`` and the first entry of ``sys.path``, and keeps them until the process ends,
so that exit handlers, pickling and ``multiprocessing`` find what they expect. What it raises goes out as it is: the
interpreter shows it, sets the exit status and dies of Ctrl-C in its own way. Only the frames between the interpreter
and the program are taken out of the traceback.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from pkgutil import get_importer
from types import CodeType, ModuleType, TracebackType
from typing import Any

from tachograph import guard
from tachograph.cli.arguments import UsageError


@dataclass(frozen=True)
class Program:
    """A script, or a folder or archive with a ``__main__.py``, or (``is_module``) a module; and its arguments."""

    target: str
    arguments: list[str]
    is_module: bool = False

    def enter(self) -> None:
        """Set ``sys.argv`` and ``sys.path`` as python sets them for this program."""
        sys.argv = ["-m" if self.is_module else self.target, *self.arguments]
        if sys.flags.safe_path:
            if self._is_importable:
                sys.path.insert(0, self._path)
        elif self.is_module:
            sys.path[0] = os.getcwd()  # where the interpreter had put the folder of the program it was started with
        else:
            sys.path[0] = self._path if self._is_importable else os.path.dirname(os.path.realpath(self.target))

    def load(self) -> CodeType:
        """Make the ``__main__`` of this program, and return its code. Raises UsageError where there is none."""
        with _CleanTraceback():
            if self.is_module:
                return _load_module(self.target)
            if self._is_importable:
                return _load_archive()
            return _load_script(self._path)

    @property
    def _path(self) -> str:
        return os.path.join(os.getcwd(), self.target)  # not normalized, since tracebacks show it

    @property
    def _is_importable(self) -> bool:
        return not self.is_module and get_importer(self._path) is not None


def run(code: CodeType) -> None:
    """Run the code of a program that :meth:`Program.load` has returned."""
    with _CleanTraceback():
        exec(code, vars(sys.modules["__main__"]))


# -- loading: the program's code, and what its module knows of itself --


def _load_script(path: str) -> CodeType:
    try:
        with io.open_code(path) as file:
            content = file.read()
    except OSError as error:
        raise UsageError(f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}") from error
    code: CodeType | None
    if path.endswith(".pyc"):
        compiled = SourcelessFileLoader("__main__", path)
        code = compiled.get_code("__main__")
        _make_main({"__loader__": compiled, "__file__": path, "__cached__": None})
    else:
        code = compile(content, path, "exec", dont_inherit=True)
        _make_main({"__loader__": SourceFileLoader("__main__", path), "__file__": path, "__cached__": None})
    assert code is not None
    return code


def _load_module(name: str) -> CodeType:
    # What `python -m` itself calls, and pdb; runpy's public functions would put the old __main__ back at the end.
    spec, code = _find(runpy._get_module_details, name)  # type: ignore[attr-defined]
    sys.argv[0] = spec.origin or name
    _make_main(_module_attributes(spec))
    return code


def _load_archive() -> CodeType:
    spec, code = _find(runpy._get_main_module_details)  # type: ignore[attr-defined]
    _make_main(_module_attributes(spec))
    return code


def _find(locate: Callable[..., tuple[str, ModuleSpec, CodeType]], *names: str) -> tuple[ModuleSpec, CodeType]:
    not_found: type[Exception] = runpy._Error  # type: ignore[attr-defined]
    try:
        _, spec, code = locate(*names, not_found)
    except not_found as error:
        raise UsageError(error) from error
    return spec, code


def _module_attributes(spec: ModuleSpec) -> dict[str, Any]:
    return {
        "__package__": spec.parent, "__loader__": spec.loader, "__spec__": spec,
        "__file__": spec.origin, "__cached__": spec.cached,
    }  # fmt: skip


def _make_main(attributes: dict[str, Any]) -> None:
    module = ModuleType("__main__")
    vars(module).update({"__annotations__": {}, "__builtins__": builtins, **attributes})
    sys.modules["__main__"] = module


# -- what the program raises --


class _CleanTraceback:
    """A block whose exception is shown as if there were nothing between the interpreter and the program."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SystemExit | UsageError):
            return
        for other in _chain(error):
            other.__traceback__ = _relinked(_of_program(other.__traceback__))
        _show_traceback(error.__traceback__)


def _show_traceback(trace: TracebackType | None) -> None:
    """Let the hook that shows the exception see ``trace``: on its way out, frames of ours are added again."""
    hook = getattr(sys, "excepthook", sys.__excepthook__)

    def show(kind: type[BaseException], error: BaseException, longer: TracebackType | None) -> None:
        sys.excepthook = hook
        error.__traceback__ = sys.last_traceback = trace
        hook(kind, error, trace)

    sys.excepthook = show


def _chain(error: BaseException) -> list[BaseException]:
    """``error``, and every exception that is shown with it."""
    chain: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        other = pending.pop()
        if other is not None and not any(other is seen for seen in chain):
            chain.append(other)
            pending += [other.__cause__, other.__context__]
            pending += getattr(other, "exceptions", ()) if isinstance(other, BaseExceptionGroup) else ()
    return chain


def _of_program(trace: TracebackType | None) -> list[TracebackType]:
    """The parts of a traceback without those before the program, and without our hooks inside it.

    The end of a traceback stays whosever it is: that is where things went wrong.
    """
    parts = list(_parts(trace))
    first = next((i for i, part in enumerate(parts) if not _is_before(part)), len(parts))
    last = max((i for i, part in enumerate(parts) if not _is_ours(part)), default=-1)
    return [part for i, part in enumerate(parts) if i >= first and (i > last or not _is_ours(part))]


def _parts(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _relinked(parts: list[TracebackType]) -> TracebackType | None:
    following = None
    for part in reversed(parts):
        part.tb_next = following
        following = part
    return following


def _is_ours(part: TracebackType) -> bool:
    return guard.is_our_code(part.tb_frame.f_code)


def _is_before(part: TracebackType) -> bool:
    """Whether a frame is one of those that find and start the program: ours, runpy's and the import system's."""
    name = part.tb_frame.f_code.co_filename
    return guard.is_ours(name) or name.startswith("<frozen ") or name == runpy.__file__
