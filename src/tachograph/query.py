from __future__ import annotations

from typing import Any


def where(text: str | None) -> tuple[str, list[Any]]:
    return "1", []


def order_by(text: str | None) -> tuple[str, list[Any]]:
    return "", []
