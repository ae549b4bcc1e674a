"""Trained models, kept in Keras's own format, and read back without running code that is in the file."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from tachograph import guard
from tachograph.errors import Error
from tachograph.record.run import Run
from tachograph.values import class_name

FORMAT = "keras"
_LIBRARIES = ("keras", "keras_hub", "keras_cv", "keras_nlp")
_MISSING = re.compile(r"Could not locate (?:class|function) '([^']+)'")  # what Keras says of one that isn't its own
_CODE = ("__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")


def keep_model(run: Run, model: Any) -> None:
    """Keep a model as the run's; one that can't be saved leaves a remark."""
    with TemporaryDirectory(prefix="tachograph-") as folder:
        path = Path(folder, "model.keras")
        try:
            keras.saving.save_model(model, path)
        except guard.FAULTS as error:  # of the user's own layers, which need not know how to be saved
            run.recorder.remark(f"the model was not kept: {type(model).__name__} can't be saved ({_first_line(error)})")
            return
        run.recorder.keep(path, "model", "model", None, _meta(model))


def prepare_summaries() -> None:
    """Print a table to nowhere, as Keras prints its summaries: the first one takes some milliseconds longer."""
    from rich.console import Console
    from rich.table import Table

    table = Table("layer")
    table.add_row("[bold]dense[/bold] (Dense)")
    Console(file=io.StringIO()).print(table)


def keep_summary(run: Run, model: Any) -> None:
    """Keep the table of layers that ``model.summary()`` prints; a layer with a trainer of its own has none."""
    if not hasattr(model, "summary"):
        return
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(str(line)))
    run.recorder.keep_bytes("\n".join(lines).encode(), "summary", "summary", "summary.txt", meta={"format": "text"})


def load_model(path: str | os.PathLike[str], meta: Mapping[str, Any]) -> Any:
    """The model that was kept in the file. Nothing that the file holds or names is run but Keras's own classes and
    what is registered here. Raises ``Error`` where it takes more.
    """
    _check(_config(path))
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except (TypeError, ValueError, NotImplementedError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        if missing := _MISSING.search(str(error)):
            raise Error(_needs(missing[1])) from error
        made = f"keras {meta.get('keras', '?')} on {meta.get('backend', '?')}"
        here = f"keras {keras.__version__} on {keras.backend.backend()}"
        raise Error(f"the model was kept by {made} and can't be read by {here}: {_first_line(error)}") from error


def _meta(model: Any) -> dict[str, Any]:
    kind = type(model)
    meta = {
        "format": FORMAT,
        "class": class_name(kind),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    with guard.contained("keras: signature"):
        meta |= {name: tensors for name in ("inputs", "outputs") if (tensors := _signature(model, name))}
    return meta


def _signature(model: Any, name: str) -> list[dict[str, Any]]:
    """Name, shape and type of each input or output; nothing of a subclassed model, which has none of its own."""
    tensors = getattr(model, name, None) if getattr(model, "_functional", model) is not None else None
    if not isinstance(tensors, list):
        return []
    return [
        {"name": str(tensor.name), "shape": list(tensor.shape), "dtype": keras.backend.standardize_dtype(tensor.dtype)}
        for tensor in tensors
        if hasattr(tensor, "shape")
    ]


def _config(path: str | os.PathLike[str]) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Error(f"{path} is no model of Keras ({_first_line(error)}): keep it again") from error


def _check(config: Any) -> None:
    """Raise ``Error`` for a configuration that can't be followed with Keras's own classes and registered ones."""
    missing = set()
    for thing in _things(config):
        name, registered = _names(thing)
        if keras.saving.get_registered_object(registered) is not None:
            continue
        if thing["class_name"] in _CODE:
            raise Error(
                f"the model holds a {name.strip('_')}, which brings code of its own, and that is not run: build the "
                "model in Python and load the weights, or, if you trust its origin, "
                "keras.saving.load_model(artifact.path(), safe_mode=False)"
            )
        if not _is_keras(thing):
            missing.add(registered)
    if missing:
        raise Error(_needs(", ".join(sorted(missing))))


def _needs(names: str) -> str:
    return (
        f"the model needs {names}: import the module that registers it with "
        "@keras.saving.register_keras_serializable(), or load inside keras.saving.custom_object_scope({name: it})"
    )


def _things(config: Any) -> Iterator[dict[str, Any]]:
    """Each object and function that a configuration names."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and ("module" in config or config["class_name"] in _CODE):
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from _things(item)


def _names(thing: dict[str, Any]) -> tuple[str, str]:
    """The name of an object's class or of a function, and the one under which it would be registered."""
    if thing["class_name"] == "function":
        return str(thing.get("config")), str(thing.get("config"))
    return thing["class_name"], str(thing.get("registered_name") or thing["class_name"])


def _is_keras(thing: dict[str, Any]) -> bool:
    module = thing.get("module")
    if thing["class_name"] == "function":
        return module in (None, "builtins")  # looked up among Keras's own by name
    return module is None or module == "builtins" or str(module).partition(".")[0] in _LIBRARIES


def _first_line(error: Exception) -> str:
    """The first line of an error."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
