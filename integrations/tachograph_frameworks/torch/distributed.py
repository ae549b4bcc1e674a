"""The job that ``torch.distributed`` knows of, where no launcher has left a word in the environment."""

from __future__ import annotations

import sys

from tachograph.record import launchers
from tachograph.record.launchers import Job

__all__ = ["distributed_job"]


def distributed_job() -> Job | None:
    """This process's rank among those that ``init_process_group`` has brought together; None before and after that.

    For ``launchers.announce``. Asks only what this process knows: nothing is sent to the other ranks.
    """
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return None
    return launchers.met(dist.get_rank(), dist.get_world_size(), _address(dist.distributed_c10d._get_default_store()))


def _address(store: object) -> str:
    """Where the ranks met: host and port of a ``TCPStore``, the path of a ``FileStore``."""
    while hasattr(store, "underlying_store"):
        store = store.underlying_store
    if hasattr(store, "host"):
        return f"{store.host}:{getattr(store, 'port', '')}"
    return str(getattr(store, "path", ""))
