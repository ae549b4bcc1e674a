"""Which metrics and parameters say most about a run: they are shown first where there is no room for all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Metrics of data that was not trained on say most; those of how the training went on (steps, times) say least.
_HELD_OUT = re.compile(r"(^|[^a-z])(val|valid|validation|test|eval|evaluate|dev|holdout|best|score)([^a-z]|$)")
_QUALITY = re.compile(r"acc|auc|f1|precision|recall|r2|loss|err|rmse|mse|mae|perplexity|iou|bleu|rouge|dice|map|score")
_ASIDE = re.compile(r"(^|[^a-z])(epoch|step|iteration|n_iter|lr|seconds|time|samples_per_second)([^a-z]|$)")


def metrics(names: Iterable[str]) -> list[str]:
    """The names of metrics, the most telling first; equals stay in their order."""
    return sorted(names, key=_rank)


def is_aside(name: str) -> bool:
    """Whether a metric says how the training went on, not how well."""
    return bool(_ASIDE.search(name.lower()))


def _rank(name: str) -> tuple[bool, bool, bool]:
    plain = name.lower()
    return is_aside(name), not _HELD_OUT.search(plain), not _QUALITY.search(plain)


def common_metrics(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of several runs' metrics: first those that most of them have."""
    return sorted(metrics(_names(runs)), key=lambda name: (is_aside(name), -_presence(runs, name)))


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the parameters in which runs differ, first those that most runs have; of a single run, all."""
    names = _names(runs)
    if len(runs) > 1:
        names = [name for name in names if len({repr(run[name]) for run in runs if name in run}) > 1]
    return sorted(names, key=lambda name: -_presence(runs, name))


def _names(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """All names, in the order in which they first occur."""
    return list(dict.fromkeys(name for run in runs for name in run))


def _presence(runs: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(name in run for run in runs)
