"""The settings and data of a data loader, recorded without reading from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, Subset, TensorDataset

from tachograph import guard
from tachograph.hooks import options
from tachograph.record.run import Run


def record_data(run: Run, dataset: Any, settings: dict[str, Any], name: str, role: str) -> None:
    """Record a loader's settings, and the data itself where it lies in memory."""
    run.log_params({name: settings})
    tensors = _tensors(dataset)
    if options.datasets and tensors:
        target = tensors[1] if len(tensors) > 1 else None
        run.recorder.log_training_data(
            _array(tensors[0]), name=name, role=role, target=None if target is None else _array(target)
        )


def loader_params(loader: DataLoader[Any]) -> dict[str, Any]:
    """What can be said of a data loader and its data set without touching the data."""
    dataset = loader.dataset
    batches = _innermost(loader.batch_sampler)
    size = loader.batch_size or getattr(batches, "batch_size", None)
    settings: dict[str, Any] = {"dataset": type(dataset).__qualname__, "batch_size": size}
    if (rows := length(dataset)) is not None:
        settings["rows"] = rows
    samplers = (loader.sampler, getattr(batches, "sampler", None))
    settings["shuffle"] = any(isinstance(sampler, RandomSampler) for sampler in samplers)
    settings["num_workers"] = loader.num_workers
    settings["drop_last"] = loader.drop_last
    return settings


def _innermost(batches: Any) -> Any:
    """The sampler of batches that a library has put another one around, to give each process its share."""
    inner = getattr(batches, "batch_sampler", None)
    return batches if inner is None else _innermost(inner)


def length(dataset: Any) -> int | None:
    """How many samples there are, where the data set knows."""
    try:
        return len(dataset)
    except guard.FAULTS:  # it is the user's own, or another framework's, with errors of its own
        return None


def _tensors(dataset: Any) -> list[Tensor]:
    """The tensors of a data set that is made of nothing else, on the host."""
    if isinstance(dataset, Subset):
        whole = _tensors(dataset.dataset)
        return [tensor[list(dataset.indices)] for tensor in whole]
    if type(dataset) is not TensorDataset:
        return []
    return [tensor for tensor in dataset.tensors if tensor.device.type == "cpu" and tensor.layout is torch.strided]


def _array(tensor: Tensor) -> Any:
    """As an array of rows and columns, sharing the tensor's memory where it can."""
    plain = tensor.detach()
    flat = plain.reshape(plain.shape[0], -1) if plain.ndim > 2 else plain
    return flat.float().numpy() if flat.dtype.is_floating_point and flat.element_size() < 4 else flat.numpy()
