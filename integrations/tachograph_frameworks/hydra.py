"""Hydra: the parameters of a job are the configuration that was composed for it, and its runs end with it.

Hydra parses the command line itself, and may run several jobs in one process. Nothing here opens a run: what is trained
in a job does that, or the user.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import sys
from typing import Any, NamedTuple

from hydra._internal.callbacks import Callbacks
from hydra.core import utils
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, ListConfig, flag_override, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from tachograph.capture import parsed_arguments
from tachograph.hooks import Hooks
from tachograph.record import open_runs, process_end
from tachograph.record.run import Run
from tachograph.runtime import stack_frames

REQUIRES = "hydra-core>=1.3"

_ENVIRONMENT = re.compile(r"\benv:([^,}]*)")  # ${oc.env:NAME}, ${oc.env:NAME,default}
_MISSING = "???"  # as OmegaConf writes it


class _Job(NamedTuple):
    """A job that is running: the arguments and open runs that were there before it."""

    arguments: dict[str, Any]
    runs: list[Run]


_jobs: list[_Job] = []  # that are running, the innermost last


def install(hooks: Hooks) -> None:
    """Called once Hydra is imported, by a job perhaps that is running already."""
    hooks.listen(Callbacks, "on_job_start", before=_begin)
    hooks.listen(Callbacks, "on_job_end", before=lambda callbacks, config, job_return: job_return, after=_end)
    hooks.native(_jobs.clear)
    config = _config_of_running_job()
    if config is not None:
        _begin(None, config)


def _begin(callbacks: object, config: DictConfig, **kwargs: object) -> None:
    _jobs.append(_Job(dict(parsed_arguments.latest), open_runs.open_runs()))
    parsed_arguments.note(composed(config), open_runs.here())


def _end(job_return: JobReturn, result: object) -> None:
    if not _jobs:
        return
    job = _jobs.pop()
    error = job_return._return_value if job_return.status is JobStatus.FAILED else None
    process_end.end_part(error, job.runs)
    parsed_arguments.latest.clear()
    parsed_arguments.latest.update(job.arguments)


def _config_of_running_job() -> DictConfig | None:
    for frame in stack_frames.outward(sys._getframe(1)):
        if frame.f_code is utils.run_job.__code__:
            return frame.f_locals["config"]
    return None


def composed(config: DictConfig) -> dict[str, Any]:
    """A job's configuration as its task has it: without Hydra's own part, and without what is missing, can't be
    resolved, or comes from the environment, which may hold secrets under any name."""
    task_config = copy.deepcopy(config)
    with read_write(task_config), open_dict(task_config):
        task_config.pop("hydra", None)
    _leave_out_environment(task_config)
    resolved = _resolved(task_config)
    assert isinstance(resolved, dict)
    return resolved


def _leave_out_environment(node: Any) -> None:
    """Mark what is read from the environment as missing, so that what refers to it can't be resolved."""
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return  # it has no parts of its own
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        child = node._get_node(key)
        if isinstance(child._value(), str) and _is_from_environment(child._value()):
            with flag_override(child, "readonly", False):
                child._set_value(_MISSING)
        elif isinstance(child, DictConfig | ListConfig):
            _leave_out_environment(child)


def _is_from_environment(text: str) -> bool:
    """Whether an interpolation reads a variable that is set, or one whose name is an interpolation itself."""
    return any("$" in name or name.strip() in os.environ for name in _ENVIRONMENT.findall(text))


def _resolved(node: Any) -> Any:
    if isinstance(node, ListConfig):
        return [_resolved(item) for item in node]
    if not isinstance(node, DictConfig):
        return node
    values = {}
    for key in node:
        with contextlib.suppress(OmegaConfBaseException):
            values[str(key)] = _resolved(node[key])
    return values
