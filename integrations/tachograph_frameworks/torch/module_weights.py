"""Modules: their weights, kept in a format that is data, not code.

With the package safetensors they are kept as it writes them itself (``save_model``), else by ``torch.save``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tachograph import guard
from tachograph.data.signature import signature
from tachograph.journal.blobs import digest_of
from tachograph.record.checkpoints import is_plain, recordable
from tachograph.record.run import Run
from tachograph.redaction import redact_mapping
from tachograph.runtime.quiet import quietly
from tachograph.values import class_name

SAFETENSORS = "torch-safetensors"
STATE_DICT = "torch-state-dict"
_WRAPPERS = {
    "DistributedDataParallel": "module", "DataParallel": "module", "FullyShardedDataParallel": "module",
    "_FabricModule": "module", "OptimizedModule": "_orig_mod",
}  # fmt: skip
_INNER = ("_orig_mod.", "_fsdp_wrapped_module.")
_PLAIN = (Tensor, nn.Parameter, *([nn.Buffer] if hasattr(nn, "Buffer") else []))


def save_module(
    run: Run,
    module: nn.Module,
    *,
    name: str = "model",
    step: int | None = None,
    meta: Mapping[str, Any] | None = None,
    example: Any = None,
) -> None:
    """Keep the weights of a module (parameters and buffers) as an artifact of kind "model"; the module stays as it is.

    Wrappers (``torch.compile``, DDP and the like) are left out. ``meta["init"]`` may hold the arguments, by name, that
    the module's class was made with: then ``load(trusted=True)`` gives back the module. ``example`` is an input of the
    module (a tensor, or tensors in tuples, lists and dicts); names, shapes and dtypes of it are recorded, no values.
    What can't be kept is noted in the run.
    """
    with guard.contained("torch: model", run), guard.timed(run), quietly():
        module = unwrapped(module)
        obstacle = _obstacle(module)
        if obstacle:
            run.recorder.remark(f"the model {name} was not kept: {obstacle}")
            return
        described = {**_described(run, module, meta or {}), **_signature_of(example)}
        _keep(run, module, name, step, described)


def _keep(run: Run, module: nn.Module, name: str, step: int | None, described: dict[str, Any]) -> None:
    weights = {_name_in_module(key): value for key, value in module.state_dict().items()}
    try:
        with _draft(run) as draft:
            format = _write(run, weights, draft)
            digest, size = digest_of(draft), draft.stat().st_size
            run.recorder.blobs.publish(draft, digest)
    except OSError as error:
        run.recorder.complain([f"the model {name} was not kept: {error.strerror or error}"])
        return
    suffix = "safetensors" if format == SAFETENSORS else "pt"
    run.recorder.kept(name, "model", digest, size, f"{name}.{suffix}", step, None, {**described, "format": format})


def unwrapped(module: nn.Module) -> nn.Module:
    """The user's own module."""
    while (attribute := _WRAPPERS.get(type(module).__name__)) and type(module).__module__.startswith(
        ("torch", "light")
    ):
        module = getattr(module, attribute)
    return module


def _name_in_module(key: str) -> str:
    for inner in _INNER:
        key = key.replace(inner, "")
    return key


def _obstacle(module: nn.Module) -> str:
    """Why the weights can't be had here, or nothing."""
    tensors = [*module.parameters(), *module.buffers()]
    if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
        return "some of its parameters have no shape yet"
    if any(tensor.is_meta for tensor in tensors):
        return "some of its parameters have no values, they are on the meta device"
    is_sharded = any(type(part).__name__ == "FullyShardedDataParallel" for part in module.modules())
    if is_sharded or any(hasattr(tensor, "full_tensor") for tensor in tensors):
        # To gather them all processes have to take part, and only this one records.
        return "its weights are spread over several processes; keep a checkpoint instead"
    return ""


@contextlib.contextmanager
def _draft(run: Run) -> Iterator[Path]:
    draft = run.recorder.blobs.draft()
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


# -- what is recorded of it --


def _described(run: Run, module: nn.Module, meta: Mapping[str, Any]) -> dict[str, Any]:
    parameters = list(module.parameters())
    dtypes: Counter[str] = Counter()
    for parameter in parameters:
        dtypes[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return {
        "class": class_name(type(module)),
        "torch": str(torch.__version__),
        "parameters": dtypes.total(),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "dtype": dtypes.most_common(1)[0][0] if dtypes else None,
        **_recordable(run, meta),
    }


def _recordable(run: Run, meta: Mapping[str, Any]) -> dict[str, Any]:
    """``meta`` as JSON can hold it; without the arguments of the class where they can't be given back as they were."""
    init = meta.get("init")
    if init is None or (is_plain(init) and redact_mapping(init) == init):
        return recordable(meta)
    run.recorder.remark(
        "the arguments that the model was made with are not recorded: they are no plain values, or secret"
    )
    return recordable({name: value for name, value in meta.items() if name != "init"})


def _signature_of(example: Any) -> dict[str, Any]:
    inputs = signature(example)
    return {"signature": {"inputs": inputs}} if inputs else {}


# -- writing --


def _write(run: Run, weights: Mapping[str, Any], draft: Path) -> str:
    """Write the weights, as safetensors where that can hold them; the format."""
    if importlib.util.find_spec("safetensors") and all(type(value) in _PLAIN for value in weights.values()):
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors, tied = _untied(weights)
        try:
            save_file(tensors, draft, {"format": "pt", **tied})
        except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError):
            pass  # sparse, quantized, or of a dtype that it doesn't know
        else:
            return SAFETENSORS
    _pickle(run, weights, draft)
    return STATE_DICT


def _untied(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors none of which shares memory with another; and the names of those that are another one, with its name."""
    untied: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    storages: set[tuple[str, int]] = set()
    for name, tensor in weights.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            untied[name] = tensor  # which safetensors refuses
            continue
        storage = (str(tensor.device), tensor.untyped_storage().data_ptr())
        identity = (*storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and identity in first:
            tied[name] = first[identity]
            continue
        first[identity] = name
        is_part = storage in storages or tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()
        storages.add(storage)
        on_host = tensor.detach().resolve_conj().resolve_neg().cpu()
        untied[name] = on_host.clone(memory_format=torch.contiguous_format) if is_part else on_host.contiguous()
    return untied, tied


def _pickle(run: Run, weights: Mapping[str, Any], draft: Path) -> None:
    on_host = {name: value.detach().cpu() if isinstance(value, Tensor) else value for name, value in weights.items()}
    extras = [name for name, value in on_host.items() if not isinstance(value, Tensor)]
    try:
        _save(on_host, draft)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError):
        if not extras:
            raise
        run.recorder.remark(f"of the model {', '.join(extras)} was not kept: it can't be pickled")
        _save({name: value for name, value in on_host.items() if name not in extras}, draft)


def _save(weights: Mapping[str, Any], draft: Path) -> None:
    with open(draft, "wb") as file:  # by its name torch would refuse it
        torch.save(weights, file)
