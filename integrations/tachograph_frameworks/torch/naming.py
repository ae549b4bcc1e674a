"""What the user's code calls a loss: the expression on which ``backward`` is called."""

from __future__ import annotations

import ast
import linecache
import sys
from itertools import islice
from types import CodeType, FrameType

DEFAULT = "loss"
_WRAPPERS = {"torch", "accelerate", "lightning", "lightning_fabric", "pytorch_lightning", "deepspeed", "apex", "keras"}
_SAME_NUMBER = {"scale", "mean", "sum", "backward"}  # one-argument functions that hand over or reduce a loss

_MOST_PLACES = 1000

_known: dict[tuple[int, int], tuple[CodeType, str | None]] = {}  # the code is held, so that its id stays its own
# The names by the instruction alone, which is found faster: most loops have one place.
latest: dict[int, tuple[CodeType, str]] = {}


def loss_name(depth: int) -> str:
    """The name of the tensor whose ``backward`` is called ``depth`` frames above the caller of this function.

    Calls through libraries that wrap ``backward`` are followed up to the user's own line. Each place in the code is
    looked at once; the values of variables are never touched, so nothing is kept alive.
    """
    place = sys._getframe(depth + 1)
    frame: FrameType | None = place
    while frame is not None:
        code, instruction = frame.f_code, frame.f_lasti
        known = _known.get((id(code), instruction))  # by identity: to hash code takes a look at all of it
        name = known[1] if known is not None else _look(frame, code, instruction)
        if name is not None:
            if frame is place:
                latest[instruction] = (code, name)
            return name
        frame = frame.f_back
    return DEFAULT


def _look(frame: FrameType, code: CodeType, instruction: int) -> str | None:
    """The name at a place that was not seen before; None in a library that only hands the call on."""
    if len(_known) >= _MOST_PLACES:  # of a notebook, whose cells are new code each time
        _known.clear()
        latest.clear()
    name = None if _is_wrapper(frame) else _name(_call(code, instruction)) or DEFAULT
    _known[id(code), instruction] = (code, name)
    return name


def _is_wrapper(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _WRAPPERS


def _call(code: CodeType, instruction: int) -> ast.expr | None:
    """The expression that the instruction evaluates."""
    position = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    first, last, start, stop = position
    if first is None or last is None or start is None or stop is None:
        return None
    lines = [line.encode() for line in linecache.getlines(code.co_filename)[first - 1 : last]]
    if not lines:
        return None
    lines[-1] = lines[-1][:stop]
    lines[0] = lines[0][start:]
    try:
        return ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except SyntaxError:  # the file has changed since it was run
        return None


def _name(node: ast.expr | None) -> str | None:
    """The variable that an expression is about; None where that is not clear."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
            return f"{_name(value)}.{key}"
        case ast.Call(func=ast.Attribute(value=value, attr=attribute), args=arguments):
            if len(arguments) == 1 and attribute in _SAME_NUMBER:
                return _name(arguments[0])
            return _name(value) if not arguments else None
        case ast.UnaryOp(operand=operand):
            return _name(operand)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=right):
            return _name(right if isinstance(left, ast.Constant) else left)
    return None
