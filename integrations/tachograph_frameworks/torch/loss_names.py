"""What the user's code calls a loss, and that variable's own value.

The expression on which ``backward`` is called is looked at once for each place in the code. Where it is a variable, the
tensor is that variable's value. Where it is something made of one (``loss / 4``, ``scaler.scale(loss)``, or a library
has come in between), the variable itself is read.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from itertools import islice
from types import CodeType, FrameType
from typing import Any, NamedTuple

from torch import Tensor

from tachograph import guard
from tachograph.runtime import stack_frames
from tachograph_frameworks.torch.device import read
from tachograph_frameworks.torch.user_variables import Calls

UNNAMED = ""  # of an expression: what its curve is called is decided with its optimizer
_WRAPPERS = {
    "torch", "accelerate", "lightning", "lightning_fabric", "pytorch_lightning", "deepspeed", "apex", "keras",
}  # fmt: skip
_SHARING = {"accelerate", "deepspeed", "transformers"}  # these divide a loss by the number of passes in a step
_TAKING_A_LOSS = {"scale", "backward", "manual_backward"}  # methods that are handed a loss
_REDUCING = {"mean", "sum"}

_MOST_PLACES = 1000
_MOST_DISPATCHING = 20  # frames of a tensor's class between two calls of one function

_Path = tuple[str | int, ...]  # a variable, then the attributes and keys that lead to the loss


class Loss(NamedTuple):
    """A loss: its name or ``UNNAMED``, its number (or a copy on its way), and whether it is only a share of a step's:
    then a step's shares are added up, where else their mean is taken."""

    name: str
    value: Any
    is_share: bool = False


class _Variable(NamedTuple):
    path: _Path
    name: str


class _Place(NamedTuple):
    """A place in the code: what its loss is called if the tensor itself is that, else the ``variables`` of which one
    may be the loss that the expression is made of."""

    code: CodeType
    name: str
    variables: tuple[_Variable, ...] = ()
    is_wrapper: bool = False
    is_sharing: bool = False


class KnownPlace(NamedTuple):
    """A place in the code that the hot path knows, and what its loss is called. ``call`` is the generator or coroutine
    that it was in, by the id of its frame, ``depth`` frames further out; 0 where it was in none."""

    code: CodeType
    name: str
    depth: int
    call: int


_places: dict[tuple[int, int], _Place] = {}  # the code is held, so that its id stays its own
# By the instruction alone, where the tensor is the variable's value: most loops have one place.
latest_names: dict[int, KnownPlace] = {}


def loss(depth: int, tensor: Tensor, number: Any = None, calls: Calls = ()) -> Loss | None:
    """The loss whose ``backward`` is called ``depth`` frames above the caller of this function; None for no number.
    ``number`` is what it was before it was scaled, if it was. ``calls`` are the generators and coroutines at work.

    Calls through libraries that wrap ``backward`` are followed up to the user's own line.
    """
    first = sys._getframe(depth + 1)
    is_share = False
    for frame in stack_frames.outward(first):
        place = _place(frame)
        is_share = is_share or place.is_sharing
        if not place.is_wrapper:
            found = _loss(frame, place, tensor, number, frame is first, is_share)
            if frame is first and not place.variables:
                latest_names[frame.f_lasti] = KnownPlace(place.code, place.name, *_innermost(first, calls))
            return found
    return _as_loss(UNNAMED, tensor, number, is_share)


def _innermost(first: FrameType, calls: Calls) -> tuple[int, int]:
    """How many frames further out the innermost of the calls is, and its id."""
    if not calls:
        return 0, 0
    return next(depth for depth, frame in enumerate(stack_frames.outward(first)) if id(frame) == calls[-1]), calls[-1]


def is_running(depth: int, function: Any) -> bool:
    """Whether ``function`` is running a little above: through ``__torch_function__`` of a tensor's class it calls
    itself."""
    code = getattr(function, "__code__", None)
    callers = islice(stack_frames.outward(sys._getframe(depth + 1)), _MOST_DISPATCHING + 1)
    return any(frame.f_code is code for frame in callers)


def _place(frame: FrameType) -> _Place:
    code, instruction = frame.f_code, frame.f_lasti
    place = _places.get((id(code), instruction))  # by identity: to hash code takes a look at all of it
    return place if place is not None else _inspect(frame, code, instruction)


def _loss(frame: FrameType, place: _Place, tensor: Tensor, number: Any, is_direct: bool, is_share: bool) -> Loss | None:
    if is_direct and not place.variables:
        return _as_loss(place.name, tensor, number)
    candidates = [(variable.name, value) for variable, value in _tensors(frame, place.variables)]
    if len(candidates) == 1:
        name, value = candidates[0]
        return _as_loss(name, value, None, place.is_sharing)
    return _as_loss(place.name if is_direct else UNNAMED, tensor, number, is_share)


def _as_loss(name: str, tensor: Tensor, number: Any, is_share: bool = False) -> Loss | None:
    value = read(tensor) if number is None else number
    return None if value is None else Loss(name, value, is_share)


def _tensors(frame: FrameType, variables: tuple[_Variable, ...]) -> Iterator[tuple[_Variable, Tensor]]:
    """Those of the variables that hold one number with a gradient, now."""
    for variable in variables:
        value = _resolve(frame, variable.path)
        if isinstance(value, Tensor) and value.requires_grad and value.numel() == 1:
            yield variable, value


def _resolve(frame: FrameType, path: _Path) -> Any:
    """What a path leads to, read without running any code of the user's; None where it leads nowhere."""
    value = stack_frames.variable(frame, str(path[0]))
    for part in path[1:]:
        try:
            is_item = type(value) in (dict, list, tuple)
            value = value[part] if is_item else object.__getattribute__(value, "__dict__")[part]
        except guard.FAULTS:  # the object is somebody else's
            return None
    return value


def _inspect(frame: FrameType, code: CodeType, instruction: int) -> _Place:
    """Read the code at a place that was not seen before."""
    if len(_places) >= _MOST_PLACES:  # of a notebook, whose cells are new code each time
        _places.clear()
        latest_names.clear()
    if _is_wrapper(frame):
        place = _Place(code, UNNAMED, is_wrapper=True, is_sharing=_package(frame) in _SHARING)
    else:
        name, variables = _read_call(_expression_at(code, instruction))
        place = _Place(code, name, variables, is_sharing=_package(frame) in _SHARING)
    _places[id(code), instruction] = place
    return place


def _is_wrapper(frame: FrameType) -> bool:
    return _package(frame) in _WRAPPERS


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _expression_at(code: CodeType, instruction: int) -> ast.expr | None:
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


def _read_call(call: ast.expr | None) -> tuple[str, tuple[_Variable, ...]]:
    """What a call of ``backward`` is about: a name where the tensor is that variable's value (or an average of it),
    and the variables of which one may have been scaled."""
    match call:
        case ast.Call(func=ast.Attribute(value=subject, attr="backward"), args=arguments):
            handed = len(arguments) == 1 and _variable_in(subject) is not None and _factors(arguments[0])
            return _subject(subject, tuple(handed or ()))
    return UNNAMED, ()


def _subject(node: ast.expr, handed: tuple[_Variable, ...]) -> tuple[str, tuple[_Variable, ...]]:
    """The same, from the expression that ``backward`` is called on. ``handed`` are variables in an argument of the
    call: ``accelerator.backward(loss)``."""
    if isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
        return node.target.id, ()
    variable = _variable_in(node)
    if variable is not None:
        return variable.name, handed
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr=attribute), args=[]) if attribute in _REDUCING:
            return _name(value), ()
        case ast.Call(func=ast.Attribute(attr=attribute), args=[value]) if attribute in _REDUCING:
            return _name(value), ()
    return UNNAMED, tuple(_factors(node))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.NamedExpr):
        return _name(node.target)
    variable = _variable_in(node)
    return UNNAMED if variable is None else variable.name


def _factors(node: ast.expr) -> Iterator[_Variable]:
    """The variables that an expression is a multiple of, as far as its form goes."""
    variable = _variable_in(node)
    if variable is not None:
        yield variable
        return
    match node:
        case ast.NamedExpr(target=value) | ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=value):
            yield from _factors(value)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from _factors(left)
            yield from _factors(right)
        case ast.BinOp(left=left, op=ast.Div()):
            yield from _factors(left)
        case ast.Call(func=ast.Attribute(attr=attribute), args=[value]) if attribute in _TAKING_A_LOSS | _REDUCING:
            yield from _factors(value)
        case ast.Call(func=ast.Attribute(value=value, attr=attribute), args=[]) if attribute in _REDUCING:
            yield from _factors(value)


def _variable_in(node: ast.expr) -> _Variable | None:
    """The variable that an expression is, perhaps with attributes and constant keys; None where it is anything else."""
    match node:
        case ast.Name(id=name):
            return _Variable((name,), name)
        case ast.Attribute(value=value, attr=attribute):
            inner = _variable_in(value)
            return None if inner is None else _Variable((*inner.path, attribute), attribute)
        case ast.Subscript(value=value, slice=ast.Constant(value=str(key) | int(key))):
            inner = _variable_in(value)
            return None if inner is None else _Variable((*inner.path, key), f"{inner.name}.{key}")
    return None


def first_argument(depth: int) -> str:
    """The variable in the first argument of the user's call that is at work ``depth`` frames above the caller:
    ``encoder`` in ``clip_grad_norm_(encoder.parameters(), 1.0)``; "" where there is none."""
    callers = stack_frames.outward(sys._getframe(depth + 1))
    users = (frame for frame in callers if not (_is_wrapper(frame) or guard.is_ours(frame.f_code.co_filename)))
    frame = next(users, None)
    call = None if frame is None else _expression_at(frame.f_code, frame.f_lasti)
    match call:
        case ast.Call(args=[ast.Call(func=ast.Attribute(value=value)), *_]) | ast.Call(args=[value, *_]):
            return _name(value)
    return ""
