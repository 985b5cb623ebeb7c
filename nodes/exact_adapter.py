"""The exact adapter as a patch of the host, so that it stacks, unloads and honours strength like any LoRA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor

from ..ccm.adapter.dora import AdapterLayer, update
from ..ccm.adapter.fileformat import PREFIX, AdapterFile
from ..ccm.adapter.fingerprint import sample
from ..ccm.adapter.fit import check_base, check_fit
from ..ccm.errors import AdapterMismatchError

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

Patch = tuple[float, Any, float, Any, Any]  # strength, what, strength of the model, offset, function


class ExactAdapter(WeightAdapterBase):
    """W0 + sum k (W' - W0) over the adapters on one weight, in fp32 whatever the dtype of the weight.

    `weights` is ((k, AdapterLayer), ...). Newer hosts rebuild an adapter by this constructor, with the
    tensors of its nested tuples moved to another device.
    """

    name = "ccm_exact"
    weights: Any  # the host declares a flat list

    def __init__(self, loaded_keys: set[str], weights: tuple[tuple[float, AdapterLayer], ...]) -> None:
        self.loaded_keys = loaded_keys
        self.weights = weights

    def calculate_weight(
        self,
        weight: Tensor,
        key: str,
        strength: float,
        strength_model: float,
        offset: Any,
        function: Any,
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: Any = None,
    ) -> Tensor:
        base = weight.float()
        change = torch.zeros_like(base)
        for k, layer in self.weights:
            change.add_(update(base, AdapterLayer(*layer)), alpha=k * strength)
        return weight.copy_(change.add_(base))


def base_weights(model: ModelPatcher) -> dict[str, tuple[Tensor, Any]]:
    """Return {module name: (pristine weight, its dequantiser)}, also of a model that is patched now."""
    patches = model.get_key_patches(PREFIX)
    ending = ".weight"
    return {key[len(PREFIX) : -len(ending)]: p[0] for key, p in patches.items() if key.endswith(ending)}


def check(model: ModelPatcher, adapter: AdapterFile) -> str:
    """Raise AdapterMismatchError unless the adapter fits the model; return one sentence on its base."""
    weights = base_weights(model)
    check_fit(adapter.layers, {name: weight.shape for name, (weight, _) in weights.items()})
    network = model.model.diffusion_model
    samples = {name: _sample(name, network.get_submodule(name), *weights[name]) for name in adapter.layers}
    return check_base(adapter, samples)


def _sample(name: str, module: Any, weight: Tensor, dequantise: Any) -> Tensor:
    """Sample the values that a weight stands for; raises AdapterMismatchError where nobody knows them."""
    if weight.dtype.is_floating_point:
        return dequantise(sample(weight), inplace=True)  # as in patching: first fp32, then the scale
    if not hasattr(module, "get_weight"):  # what layers of GGUF loaders make of their bytes
        raise AdapterMismatchError(
            f"{name} is stored as {weight.dtype}, and its layer does not say what weight that stands for",
            fix="load the base in bf16, fp16 or fp8, or by a GGUF loader",
        )
    return sample(module.get_weight(weight, torch.float32))


def add_adapter(model: ModelPatcher, adapter: AdapterFile, strength: float) -> ModelPatcher:
    """Return a clone of the model with the adapter; the model given is left as it is."""
    patched = model.clone()
    patches = {f"{PREFIX}{name}.weight": ((1.0, layer),) for name, layer in adapter.layers.items()}
    patched.add_patches({key: ExactAdapter(set(), weights) for key, weights in patches.items()}, strength)
    for key in patches:
        patched.patches[key] = next_to_base(patched.patches[key])
    return patched


def next_to_base(patches: list[Patch]) -> list[Patch]:
    """Move the adapter that was added last to where the weight still is the pristine base.

    Strategy: the host applies the patches of a weight one after another, and DoRA's row norms must be those
    of the base, not of a base with LoRAs added. LoRAs add, so they commute; only what replaces or scales the
    weight (a model merge, a `set`) makes a new base, and the adapter stays behind the last of these. Two
    adapters of ours on one weight become one patch, so that both see the base.
    """
    *others, new = patches
    place = max((i + 1 for i, patch in enumerate(others) if _makes_base(patch)), default=0)
    if place < len(others) and isinstance(others[place][1], ExactAdapter):
        new = _joined(others.pop(place), new)
    return [*others[:place], new, *others[place:]]


def _makes_base(patch: Patch) -> bool:
    _, what, strength_model, _, _ = patch
    return strength_model != 1.0 or isinstance(what, list) or (isinstance(what, tuple) and what[0] == "set")


def _joined(first: Patch, second: Patch) -> Patch:
    weights = [(k * strength, layer) for strength, what, *_ in (first, second) for k, layer in what.weights]
    return (1.0, ExactAdapter(set(), tuple(weights)), 1.0, None, None)
