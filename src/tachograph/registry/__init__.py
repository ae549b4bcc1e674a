"""The model registry: versions of models, and every decision about them.

    <root>/registry/<model>/<n>.json    the nth decision about a model: whole, and never changed

The decisions are the storage: what a model is now follows from them, read in their order. Each has the digest of the
one before it, so that a decision that was changed or taken out shows. A decision is made from what is known, and
counts if nobody was faster with that number; else it is made again from what is known then.
"""

from tachograph.registry.registry import Records, Registry
from tachograph.registry.state import Model, Version

__all__ = ["Model", "Records", "Registry", "Version"]
