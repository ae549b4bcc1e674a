"""What modules are: class, size, and a summary to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from tachograph.values import class_name
from tachograph_frameworks.torch.module_weights import unwrapped

_MOST_LINES = 500


def outermost(candidates: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The candidates that are not a part of another one, each once."""
    modules = {name: unwrapped(module) for name, module in candidates.items()}
    inner = {id(part) for module in modules.values() for part in module.modules() if part is not module}
    kept: dict[int, str] = {}
    for name, module in modules.items():
        if id(module) not in inner:
            kept.setdefault(id(module), name)
    return {name: modules[name] for name in kept.values()}


def params(module: nn.Module) -> dict[str, Any]:
    """Its class and how many parameters it has. Those that have no shape yet (lazy ones) are left out."""
    return {
        "class": class_name(type(module)),
        "parameters": sum(map(size, module.parameters())),
        "trainable_parameters": sum(size(parameter) for parameter in module.parameters() if parameter.requires_grad),
    }


def size(parameter: Any) -> int:
    """How many numbers are in it; 0 for one that has no shape yet."""
    return 0 if nn.parameter.is_lazy(parameter) else parameter.numel()


def summary(module: nn.Module) -> str:
    """A table: each part, its class, its own parameters. At most 500 lines."""
    rows = list(_rows(module))
    shown = rows[:_MOST_LINES]
    widths = [max(len(row[column]) for row in shown) for column in (0, 1, 2)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in shown]
    if len(rows) > len(shown):
        lines.append(f"... {len(rows) - len(shown)} more")
    total = params(module)
    lines.append(f"{total['parameters']:,} parameters, {total['trainable_parameters']:,} of them trainable")
    return "\n".join(lines) + "\n"


def _rows(module: nn.Module) -> Iterator[tuple[str, str, str, str]]:
    yield "part", "class", "parameters", "settings"
    for name, part in module.named_modules():
        own = sum(size(parameter) for parameter in part.parameters(recurse=False))
        settings = " ".join(part.extra_repr().split()) if not list(part.children()) else ""
        yield name or "(all)", type(part).__name__, f"{own:,}" if own else "", settings[:100]
