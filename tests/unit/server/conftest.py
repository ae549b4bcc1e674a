"""The server is an extra: without what it is made of, its tests are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")
