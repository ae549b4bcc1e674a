"""What a script of the gallery knows of its own training, printed for the test that compares it with the record."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

MARK = "TRUTH "


def tell(**facts: Any) -> None:
    """Print what the script has seen, for the test to read."""
    print(MARK + json.dumps(facts, default=float), flush=True)


def told(output: str) -> dict[str, Any]:
    """What a script has told, read from its output."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith(MARK):
            facts.update(json.loads(line.removeprefix(MARK)))
    return facts


def digest(*weights: Any) -> str:
    """A digest of all bits of some weights: modules, state dicts, tensors, arrays, and sequences of them."""
    hashed = hashlib.sha256()
    for part in weights:
        _add(hashed, part)
    return hashed.hexdigest()[:16]


def _add(hashed: Any, part: Any) -> None:
    if "torch" in sys.modules and isinstance(part, sys.modules["torch"].nn.Module):
        part = part.state_dict()
    if isinstance(part, Mapping):
        for name in sorted(part):
            hashed.update(name.encode())
            _add(hashed, part[name])
    elif isinstance(part, list | tuple):
        for item in part:
            _add(hashed, item)
    else:
        array = np.ascontiguousarray(part.detach().numpy() if hasattr(part, "detach") else part)
        hashed.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
