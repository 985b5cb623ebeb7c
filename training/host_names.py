"""A base checkpoint as ComfyUI sees it: which modules it has, and every name that a LoRA file may give them.

The names come from the host's own `comfy.lora.model_lora_keys_unet`, asked about a model that is built without
memory, so that a base of any size takes seconds. Weights are read from disk one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..ccm.adapter.fileformat import PREFIX
from ..ccm.adapter.placing import BaseModel, Place
from ..ccm.errors import AdapterError
from .bases.host_modules import import_host

WEIGHT = ".weight"
SMALL = 1 << 16  # tensors up to this size are read, as the host looks into some to tell models apart
LAYOUT = "name a safetensors checkpoint or diffusion model in the layout that ComfyUI loads as it is"


def read_base(path: Path | str) -> BaseModel:
    """Return a base checkpoint by the host's module names.

    Raises AdapterError for a file that cannot be read and for a model that the host does not know.
    """
    path = Path(path)
    state, metadata = _outline(path)
    prefix, inner = _diffusion_model(state)
    return describe_base(path.name, inner, metadata, _reader(path, prefix))


def describe_base(
    name: str, state: dict[str, Tensor], metadata: Any, weight: Callable[[str], Tensor]
) -> BaseModel:
    """Return a base whose tensors, by the host's names and possibly without values, are those of `state`."""
    import_host()
    import comfy.lora

    model = _model(name, state, metadata)
    known = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    shapes = {
        key[len(PREFIX) : -len(WEIGHT)]: shape
        for key, shape in known.items()
        if key.startswith(PREFIX) and key.endswith(WEIGHT) and len(shape) > 1
    }
    targets = comfy.lora.model_lora_keys_unet(model, {})
    found = {name: _place(target, shapes) for name, target in targets.items()}
    places = {name: place for name, place in found.items() if place is not None}
    return BaseModel(name, shapes, places, weight)


def outline_model(path: Path) -> Any:
    """Return the host's model of a file, on the meta device; raises AdapterError as `read_base` does."""
    state, metadata = _outline(path)
    return _model(path.name, _diffusion_model(state)[1], metadata)


def _model(name: str, state: dict[str, Tensor], metadata: Any) -> Any:
    import comfy.model_detection

    config: Any = comfy.model_detection.model_config_from_unet(state, "", metadata=metadata)
    if config is None:
        raise AdapterError(f"ComfyUI does not know the model in {name}", fix=LAYOUT)
    config.set_inference_dtype(torch.float32, None)
    return config.get_model(state, "", device=torch.device("meta"))


def _outline(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of a file, large ones without their values, and its metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {}
            for key in file.keys():
                shape = file.get_slice(key).get_shape()
                small = math.prod(shape) <= SMALL
                state[key] = file.get_tensor(key) if small else torch.empty(shape, device="meta")
            return state, file.metadata()
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"The base model {path} cannot be read ({error})", fix=LAYOUT) from error


def _diffusion_model(state: dict[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Return the prefix of the diffusion model in a file, and its tensors without the prefix."""
    import_host()
    import comfy.model_detection

    prefix = comfy.model_detection.unet_prefix_from_state_dict(state)
    inner = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    return (prefix, inner) if inner else ("", state)


def _place(target: Any, shapes: dict[str, tuple[int, ...]]) -> Place | None:
    """Translate an entry of the host's map: a key, or a key with a slice of its rows and a reordering of them."""
    key, *how = target if isinstance(target, tuple) else (target,)
    offset, reorder = (*how, None, None)[:2]
    module = key.removeprefix(PREFIX).removesuffix(WEIGHT)
    if not key.endswith(WEIGHT) or module not in shapes or (offset and offset[0] != 0):
        return None
    if offset is None and reorder is None:
        return Place(module)
    start, length = offset[1:] if offset else (0, shapes[module][0])
    rows = torch.arange(start, start + length)
    if reorder is not None:  # row i of the weight is row order[i] of the layer
        order = reorder(torch.arange(length)[:, None])[:, 0]
        rows = torch.empty_like(rows).index_copy_(0, order, rows)
    return Place(module, rows)


def _reader(path: Path, prefix: str) -> Callable[[str], Tensor]:
    def weight(module: str) -> Tensor:
        from safetensors import safe_open

        key = prefix + module
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            if key + WEIGHT not in keys:
                raise AdapterError(f"{path} holds no {key}{WEIGHT}", fix=LAYOUT)
            values = file.get_tensor(key + WEIGHT).float()
            scale = f"{key}.scale_weight"  # of scaled fp8 files
            return values * file.get_tensor(scale).float() if scale in keys else values

    return weight
