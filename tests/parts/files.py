"""Files for tests to record."""

from __future__ import annotations

from pathlib import Path


def file(path: Path, content: str) -> Path:
    """``path``, where there is a file with this content now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path
