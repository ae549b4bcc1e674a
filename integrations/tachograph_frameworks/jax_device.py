"""Numbers in JAX arrays: read at once where they are there, copied without waiting where they are still computed."""

from __future__ import annotations

from typing import Any


class Pending:
    """A scalar that is still computed, as an array of our own: the user's may be donated to a later computation."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def ready(self) -> bool:
        """Whether it is computed."""
        return bool(self._array.is_ready())

    def value(self) -> float:
        """The number, once it is computed."""
        return float(self._array.item())


def start_copy(array: Any) -> Pending | None:
    """A copy of a one-element array that is still computed; None for what can be read at once, or is no number."""
    if not _is_number(array) or array.is_ready():
        return None
    import jax

    shard = array.addressable_data(0)  # of a replicated one this process's: to copy them all would take every process
    copy = jax.device_put(shard, may_alias=False)
    copy.copy_to_host_async()
    return Pending(copy)


def _is_number(array: Any) -> bool:
    """Whether it holds one real number: a tracer and a random key hold none, nor does what was donated or deleted, of
    which nothing else may be asked."""
    return hasattr(array, "is_ready") and not array.is_deleted() and array.size == 1 and array.dtype.kind != "c"
