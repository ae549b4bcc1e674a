"""The loaders of weights, modules and checkpoints.

Nothing here runs code that a file brings along, unless its reader trusts it.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tachograph.errors import Error


def load_safetensors(path: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """The state dict, on the CPU, tied weights under all their names. ``load(trusted=True)`` gives the module itself,
    where the arguments that it was made with are recorded."""
    try:
        from safetensors import safe_open
        from safetensors.torch import load_file
    except ImportError as error:
        raise Error("these weights are in a format of the package safetensors: pip install safetensors") from error

    weights: dict[str, Any] = load_file(path)
    with safe_open(path, framework="pt") as file:
        tied = file.metadata() or {}
    return weights | {name: weights[same] for name, same in tied.items() if same in weights and name not in weights}


def load_checkpoint(path: Path, meta: dict[str, Any]) -> Any:
    """What ``torch.save`` wrote, on the CPU, if it is made of tensors and plain values only."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "TorchScript" not in str(error):
            raise  # the file is cut off, or no checkpoint: trust doesn't help
        raise Error(
            f"{path.name} holds more than tensors and plain values, and can run code when loaded:"
            " if you trust its origin, load(trusted=True)"
        ) from error


def load_trusted_checkpoint(path: Path, meta: dict[str, Any]) -> Any:
    """What ``torch.save`` wrote, on the CPU; runs the code that the file says."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (AttributeError, ImportError) as error:
        raise Error(f"it needs a class that can't be imported here ({error}): import or define that first") from error


def load_state_dict(path: Path, meta: dict[str, Any]) -> Any:
    """The state dict, on the CPU."""
    return load_checkpoint(path, meta)


def load_module(path: Path, meta: dict[str, Any]) -> nn.Module:
    """The module itself, in evaluation mode: its class is imported and called with the recorded arguments."""
    if "init" not in meta:
        raise Error(
            f"the arguments that {meta.get('class', 'the module')} was made with are not recorded:"
            " make one yourself, and give what load() returns to its load_state_dict()"
        )
    module: nn.Module = _class(str(meta.get("class")))(**meta["init"])
    is_safe = meta.get("format") == "torch-safetensors"
    module.load_state_dict(load_safetensors(path, meta) if is_safe else load_trusted_checkpoint(path, meta))
    return module.eval()


def _class(name: str) -> type[nn.Module]:
    module, _, qualname = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError, ValueError) as error:
        raise Error(
            f"the class {name} can't be imported here ({error}): make the module yourself, and give what load()"
            " returns to its load_state_dict()"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise Error(f"{name} is no module of torch: it can't be made from the recorded arguments")
    return kind


load_safetensors.trusted = load_module  # type: ignore[attr-defined]
load_state_dict.trusted = load_module  # type: ignore[attr-defined]
load_checkpoint.trusted = load_trusted_checkpoint  # type: ignore[attr-defined]
