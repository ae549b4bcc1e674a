"""For authors of plug-ins and sinks: ``check_plugin`` and ``check_sink`` hold them to the promises; ``recorded`` reads
what a training has recorded."""

from __future__ import annotations

from tachograph.testing.own_store import recorded
from tachograph.testing.plugins import check_plugin
from tachograph.testing.sinks import check_sink

__all__ = ["check_plugin", "check_sink", "recorded"]
