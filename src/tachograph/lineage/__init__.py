"""Lineage: what came of what, as one graph of data sets, code, runs, files, versions of models and where they run.

Here is what such a graph is, how it is walked, and how it is written down. What is asked on the way comes from
whoever knows the runs (see :mod:`tachograph.store.origins`): an answer has to be below those that give it.
"""

from tachograph.lineage.graph import Edge, Lineage, Node, Sources
from tachograph.lineage.texts import FORMATS, written

__all__ = ["FORMATS", "Edge", "Lineage", "Node", "Sources", "written"]
