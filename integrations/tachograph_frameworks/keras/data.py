"""Training data, as it is recorded. What comes in batches is described by what it says of itself, never read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tachograph.data import readers
from tachograph.data.table import Table, array_table, unread
from tachograph.record.run import Run
from tachograph.values import class_name


def register() -> None:
    """Let ``log_dataset`` know what Keras takes beside arrays."""
    readers.register("keras", "PyDataset", _batches)
    readers.register("tensorflow", "DatasetV2", _dataset)
    readers.register("tensorflow", "Tensor", _tensor)
    readers.register("torch", "DataLoader", _loader)


def record(run: Run, role: str, x: Any, y: Any = None, sample_weight: Any = None) -> None:
    """Record the data of one role: one entry, or one for each input and target where there are several."""
    inputs, targets = dict(_parts(role, x)), dict(_parts(f"{role}.target", y))
    if len(inputs) == 1 and f"{role}.target" in targets:
        [(name, data)] = inputs.items()
        run.recorder.log_training_data(data, name=name, role=role, target=targets[f"{role}.target"])
    else:
        for name, data in {**inputs, **targets}.items():
            run.recorder.log_training_data(data, name=name, role=role)
    for name, data in _parts(f"{role}.sample_weight", sample_weight):
        run.recorder.log_training_data(data, name=name, role=role)


def batch_size(x: Any, default: int) -> int | None:
    """The size of a batch where ``fit`` was given none: that of what comes in batches, or Keras's own for arrays."""
    if any(hasattr(data, "shape") for _, data in _parts("", x)):
        return default
    size = _batched(x) if hasattr(x, "element_spec") else getattr(x, "batch_size", None)
    return size if isinstance(size, int) else None


_UNCHANGED = ("Prefetch", "Map", "ParallelMap", "Cache", "Repeat", "Take", "Skip", "Shuffle", "Options")


def _batched(dataset: Any) -> int | None:
    """The size of a batch of a ``tf.data`` pipeline. The specification of its elements says it only where the last
    batch, which may be smaller, is dropped; else the step of the pipeline that made the batches knows."""
    import tensorflow as tf

    shape = tf.nest.flatten(dataset.element_spec)[0].shape
    if shape.rank and shape[0] is not None:
        return int(shape[0])
    while type(dataset).__name__.strip("_").removesuffix("Dataset") in _UNCHANGED and hasattr(dataset, _INPUT):
        dataset = getattr(dataset, _INPUT)
    size = getattr(dataset, "_batch_size", None)
    return None if size is None else int(size)


_INPUT = "_input_dataset"


def _parts(name: str, data: Any) -> Iterator[tuple[str, Any]]:
    """The arrays in a dict or list of them, with their names; anything else as it is."""
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list | tuple) and data and all(hasattr(item, "shape") for item in data):
        items = list(enumerate(data))
    else:
        items = [] if data is None else [("", data)]
    for key, value in items:
        yield (name if key == "" else f"{name}.{key}"), value


def _batches(data: Any, name: str) -> Table:
    """Something that gives batches: how many rows these have is not known before they are made."""
    return Table(class_name(type(data)), (), None, None)


def _dataset(data: Any, name: str) -> Table:
    """A ``tf.data`` pipeline: the specification of its elements."""
    import tensorflow as tf

    specs = tf.nest.flatten(data.element_spec)
    columns = {str(number): _column_type(spec) for number, spec in enumerate(specs)}
    return Table(class_name(type(data)), (), None, None, None, unread(columns))


def _loader(data: Any, name: str) -> Table:
    """A ``DataLoader`` of torch: the rows of its data set, where that says how many it has."""
    rows = len(data.dataset) if hasattr(type(data.dataset), "__len__") else None
    tensors = getattr(data.dataset, "tensors", ())
    columns = {str(number): _column_type(tensor) for number, tensor in enumerate(tensors)}
    return Table(class_name(type(data)), (), rows, None, None, unread(columns) if columns else [])


def _tensor(data: Any, name: str) -> Table:
    """A tensor of TensorFlow: read where it is on the host."""
    if hasattr(data, "numpy") and "CPU" in str(getattr(data, "device", "")).upper():
        return array_table(data.numpy(), name, class_name(type(data)))
    shape = tuple(data.shape)
    return Table(class_name(type(data)), shape, shape[0] if shape else 1, None, None, unread({name: data.dtype.name}))


def _column_type(spec: Any) -> str:
    dtype = str(getattr(spec.dtype, "name", spec.dtype)).removeprefix("torch.")
    return f"{dtype} {list(spec.shape)[1:]}"  # of one row
