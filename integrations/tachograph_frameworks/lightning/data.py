"""Data: the loaders of a training, and the data sets in them. Nothing is loaded for that."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from torch.utils.data import IterableDataset, RandomSampler, Subset, TensorDataset

from tachograph import guard
from tachograph.data.table import LIMIT
from tachograph.hooks import Call, Watcher, options
from tachograph.record.run import Run
from tachograph_frameworks.lightning import recording

_ROLES = {"train": "train", "val": "validation", "test": "test", "predict": "predict"}


def note_data(call: Call) -> Watcher:
    """Watch a loop get its loaders."""
    loop = call.instance
    yield
    current = recording.of(loop.trainer)
    if current is None or current.run is None or not options.datasets or loop._combined_loader is None:
        return
    prefix = "train" if type(loop).__name__ == "_FitLoop" else loop.trainer.state.stage.dataloader_prefix
    if prefix in current.data:
        return
    current.data.add(prefix)
    loaders = loop._combined_loader.flattened
    for index, loader in enumerate(loaders):
        name = prefix if len(loaders) == 1 else f"{prefix}_{index}"
        with guard.contained("lightning: data", current.run):
            _record(current.run, loader, name, _ROLES[prefix])


def _record(run: Run, loader: Any, name: str, role: str) -> None:
    run.log_params({"data": {name: _settings(loader)}})
    dataset = getattr(loader, "dataset", None)
    if dataset is None:
        return
    content = _arrays(dataset)
    if content is None:
        run.recorder.log_training_data(dataset, name=name, role=role)
    else:
        target = content[1] if len(content) == 2 else None
        run.recorder.log_training_data(content if len(content) > 2 else content[0], name=name, role=role, target=target)


def _settings(loader: Any) -> dict[str, Any]:
    facts = {name: getattr(loader, name, None) for name in ("batch_size", "num_workers", "drop_last")}
    facts["class"] = type(loader).__name__
    if hasattr(loader, "sampler"):
        facts["shuffle"] = isinstance(loader.sampler, RandomSampler)
    dataset = getattr(loader, "dataset", None)
    if dataset is not None:
        facts["dataset"] = type(dataset).__name__
        facts["rows"] = (
            len(dataset) if isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset) else None
        )
    return {name: value for name, value in facts.items() if value is not None}


def _arrays(dataset: Any) -> list[Any] | None:
    """The arrays of a data set that consists of tensors, or of a part of one that is not large; None for any other."""
    if isinstance(dataset, TensorDataset):
        tensors = list(dataset.tensors)
        here = all(tensor.device.type == "cpu" for tensor in tensors)
        return [tensor.numpy() for tensor in tensors] if here and len(tensors) > 2 else tensors if here else None
    if not isinstance(dataset, Subset):
        return None
    whole = _arrays(dataset.dataset)
    if whole is None or sum(each[0].nbytes for each in whole) * len(dataset.indices) > LIMIT:
        return None
    return [each[list(dataset.indices)] for each in whole]
