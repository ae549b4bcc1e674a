"""What a compiled model says of itself: optimizer, loss, metrics, how it is run, how large it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras

from tachograph import guard

_COMPILED = ("loss_weights", "metrics", "weighted_metrics")
_EXECUTED = ("run_eagerly", "jit_compile", "steps_per_execution")


def compiled(model: Any) -> dict[str, Any]:
    """The arguments of ``compile``, by their names; objects by their classes, with their settings."""
    arguments = getattr(getattr(model, "_compile_config", None), "config", {})
    params: dict[str, Any] = {}
    for name, optimizer in _optimizers(model).items():
        params |= _configured(name, optimizer)
    params |= _loss(getattr(model, "loss", None))
    params |= {name: named(arguments[name]) for name in _COMPILED if arguments.get(name) is not None}
    params |= {name: getattr(model, name) for name in _EXECUTED if hasattr(model, name)}
    params["dtype_policy"] = model.dtype_policy.name
    return params


def size(model: Any) -> dict[str, Any]:
    """How many numbers the model holds, in the words of ``summary``."""
    trainable, other = _count(model.trainable_weights), _count(model.non_trainable_weights)
    return {
        "total_params": trainable + other,
        "trainable_params": trainable,
        "non_trainable_params": other,
        "layers": len(getattr(model, "layers", ())),
    }


def bytes_of(model: Any) -> int:
    """How much memory the weights take, about."""
    return 4 * _count(model.weights)


def rates(model: Any) -> dict[str, float]:
    """The learning rates in force: ``lr``, and ``lr/<attribute>`` for optimizers that the model has besides."""
    rates = {}
    for name, optimizer in _optimizers(model).items():
        rate = getattr(optimizer, "learning_rate", None)
        if rate is not None:
            label = "lr" if name == "optimizer" else f"lr/{name}"
            rates[label] = float(keras.ops.convert_to_numpy(rate))
    return rates


def named(value: Any) -> Any:
    """Names as they are, objects by their class, functions by their name; in lists and dicts too."""
    if isinstance(value, Mapping):
        return {key: named(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [named(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return str(getattr(value, "__name__", None) or type(value).__name__)


def _optimizers(model: Any) -> dict[str, Any]:
    """The model's optimizer, and those of a model with a training step of its own, by attribute."""
    attributes = {name: value for name, value in vars(model).items() if isinstance(value, keras.optimizers.Optimizer)}
    first = getattr(model, "optimizer", None)
    others = {name: value for name, value in attributes.items() if value is not first and not name.startswith("_")}
    return others if first is None else {"optimizer": first, **others}


def _loss(loss: Any) -> dict[str, Any]:
    if loss is None:
        return {}
    return _configured("loss", loss) if isinstance(loss, keras.losses.Loss) else {"loss": named(loss)}


def _configured(name: str, part: Any) -> dict[str, Any]:
    """Its class under ``name``, and its settings below."""
    try:
        config = part.get_config()
    except guard.FAULTS:  # a class of the user's need not have one
        config = {}
    return {name: type(part).__name__, **_flat(name, config)}


def _flat(prefix: str, config: Mapping[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping) and "class_name" in value:  # an object in there: a schedule, an inner optimizer
            inner = value.get("config")
            params[name] = value["class_name"]
            params |= _flat(name, inner) if isinstance(inner, Mapping) else {}
        else:
            params[name] = value
    return params


def _count(weights: Any) -> int:
    return sum(math.prod(weight.shape) for weight in weights)
