"""Modules: their weights, kept in a format that is data, not code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch

from tachograph.run import Run


def save_module(
    run: Run,
    module: torch.nn.Module,
    *,
    name: str = "model",
    step: int | None = None,
    meta: Mapping[str, Any] | None = None,
    example: Any = None,
) -> None:
    """Keep the weights of a module as the run's model.

    ``example`` is an input of the module (a tensor, or tensors in tuples, lists and dicts), for its signature.
    """
    content = io.BytesIO()
    torch.save(module.state_dict(), content)
    described = {"format": "torch-state-dict", "class": f"{type(module).__module__}.{type(module).__qualname__}"}
    run._keep_bytes(content.getvalue(), name, "model", f"{name}.pt", step, {**described, **(meta or {})})
