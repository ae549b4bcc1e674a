"""Closed runs as Parquet tables; see :mod:`tachograph.compact.compaction`."""

from tachograph.compact.compaction import Report, compact
from tachograph.compact.destination import Destination, FolderDestination, destination_at

__all__ = ["Destination", "FolderDestination", "Report", "compact", "destination_at"]
