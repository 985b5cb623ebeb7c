"""Read the adapter out of a model in which PEFT has injected LoRA or DoRA layers; needs no import of PEFT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import AdapterError
from .base_weight import base_weight
from .dora import AdapterLayer, Convention

WRAPPERS = ("base_model.model.", "diffusion_model.")


def layers_from_peft(model: nn.Module, adapter: str = "default") -> dict[str, AdapterLayer]:
    """Return the adapter layers of a PEFT-injected model by module name, as fp32 copies on the CPU.

    The names are the host's own module names, without `base_model.model.` and `diffusion_model.`. Magnitudes
    are the paper's m [out], whatever shape PEFT keeps them in; the scale is PEFT's, so rsLoRA is honoured.
    Raises AdapterError where there is no such adapter, where it is merged into the weights, and where it has
    biases or embeddings, which the adapter file cannot hold.
    """
    layers = {name: _layer(name, module, adapter) for name, module in _adapted(model, adapter)}
    if not layers:
        raise AdapterError(
            f"The model holds no PEFT adapter named {adapter!r}",
            fix="inject one with peft.inject_adapter_in_model before exporting",
        )
    return layers


def base_from_peft(model: nn.Module, adapter: str = "default") -> dict[str, Tensor]:
    """Return the base weights [out, ...] of the layers that `layers_from_peft` returns, by the same names."""
    return {name: base_weight(module.get_base_layer()) for name, module in _adapted(model, adapter)}


def _adapted(model: nn.Module, adapter: str) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if adapter in getattr(module, "lora_embedding_A", ()):
            raise AdapterError(
                f"The embedding {name} is adapted", fix="leave embeddings out of target_modules"
            )
        factors = getattr(module, "lora_A", None)
        if isinstance(factors, nn.ModuleDict) and adapter in factors:
            for wrapper in WRAPPERS:
                name = name.removeprefix(wrapper)
            yield name, module


def _layer(name: str, module: Any, adapter: str) -> AdapterLayer:
    up, down = module.lora_B[adapter], module.lora_A[adapter]
    if module.merged or up.bias is not None:
        raise AdapterError(
            f"The PEFT layer {name} is merged into its weight or has a LoRA bias",
            fix="unmerge the adapter, and train it with lora_bias=False",
        )
    magnitudes = module.lora_magnitude_vector
    magnitude = _copy(magnitudes[adapter].weight).flatten() if adapter in magnitudes else None
    convention = Convention.LORA if magnitude is None else Convention.TRUE_M
    scale = float(module.scaling[adapter])
    return AdapterLayer(_copy(down.weight), _copy(up.weight), scale, magnitude, convention)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
