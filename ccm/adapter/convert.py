"""Write an adapter in this pack's format or in that of another tool, wherever that loses nothing."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import AdapterError
from .dialects import DIFFUSERS_METADATA, PEFT_CONFIG, PEFT_PREFIX, PEFT_WEIGHTS, ForeignAdapter, Kind
from .dora import AdapterLayer, Convention, in_convention
from .fileformat import AdapterFile, save_adapter, shaped_scale, write_tensors
from .fit import check_fit
from .placing import BaseModel, host_layers, onto_names

Layers = Mapping[str, AdapterLayer]
NEEDS_BASE = "name the base model with --base"


class Target(str, Enum):
    """The formats that can be written."""

    CCM = (
        "ccm"  # corrected scales, which the stock loader applies exactly, and the true magnitudes beside them
    )
    TRUE_M = "true-m"
    PEFT = "peft"
    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    AI_TOOLKIT = "ai-toolkit"


def convert(adapter: ForeignAdapter, base: BaseModel | None, target: Target, out: Path) -> None:
    """Write the adapter to `out`, a file, or for PEFT a folder.

    The factors keep their values to the bit. Raises AdapterError where the file is damaged, where the target
    cannot hold what the file holds, and where the base model is needed and not given.
    """
    _check_convertible(adapter, out)
    layers = host_layers(adapter, base)
    if base is not None:
        check_fit(layers, base.shapes)
    if target in (Target.CCM, Target.TRUE_M):
        if base is None:
            raise AdapterError("The pack's own format records the base model", fix=NEEDS_BASE)
        convention = Convention.CORRECTED if target is Target.CCM else Convention.TRUE_M
        save_adapter(out, layers, _Weights(base, layers), convention=convention, training=_history(adapter))
        return
    _WRITERS[target](out, _true(layers, base), base)


class _Weights(Mapping[str, Tensor]):
    """The weights of the adapted layers, each read when it is asked for."""

    def __init__(self, base: BaseModel, layers: Layers) -> None:
        self._base, self._layers = base, layers

    def __getitem__(self, name: str) -> Tensor:
        return self._base.weight(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def _check_convertible(adapter: ForeignAdapter, out: Path) -> None:
    if adapter.problems:
        count = len(adapter.problems)
        raise AdapterError(
            f"{adapter.path} has {count} problem{'s' * (count > 1)}: {'; '.join(adapter.problems[:3])}",
            fix="see `python . adapter verify`, and use a sound file",
        )
    if adapter.text_encoder_layers:
        raise AdapterError(
            f"{adapter.path} adapts {adapter.text_encoder_layers} layers of a text encoder, which would be lost",
            fix="use the file with ComfyUI's own LoRA loader, or train without the text encoder",
        )
    if out.exists():
        raise AdapterError(f"{out} is there already", fix="choose another name, or delete it")


def _history(adapter: ForeignAdapter) -> dict[str, Any]:
    """Return what the file says of its training, or where it comes from."""
    if adapter.kind is Kind.CCM:
        return AdapterFile({}, Convention.LORA, adapter.metadata).training
    digest = hashlib.sha256(adapter.path.read_bytes()).hexdigest()
    return {"converted_from": adapter.kind.value, "source": adapter.path.name, "source_sha256": digest}


def _true(layers: Layers, base: BaseModel | None) -> dict[str, AdapterLayer]:
    """Return the layers with true magnitudes."""
    corrected = [name for name, layer in layers.items() if layer.convention is Convention.CORRECTED]
    if corrected and base is None:
        raise AdapterError("The file holds corrected scales and no magnitudes", fix=NEEDS_BASE)
    true = dict(layers)
    for name in corrected:
        assert base is not None
        true[name] = in_convention(base.weight(name), layers[name], Convention.TRUE_M)
    return true


def _uniform(layers: Layers, tool: str) -> bool:
    """Return whether the layers are DoRA; raises AdapterError where the tool has no form for them."""
    conventions = {layer.convention for layer in layers.values()}
    if Convention.INPUT_AXIS in conventions:
        raise AdapterError(f"{tool} has no magnitudes on the input axis", fix="convert to ccm or kohya")
    if len(conventions) > 1:
        raise AdapterError(f"{tool} cannot mix DoRA and plain LoRA layers", fix="convert to ccm or kohya")
    return Convention.TRUE_M in conventions


def _peft_config(layers: Layers) -> dict[str, Any]:
    """Return the part of PEFT's LoraConfig that says how the factors are scaled."""
    ranks = {name: layer.rank for name, layer in layers.items()}
    alphas = {name: layer.scale * layer.rank for name, layer in layers.items()}
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {f"^{re.escape(n)}": r for n, r in ranks.items() if r != rank},
        "alpha_pattern": {f"^{re.escape(n)}": a for n, a in alphas.items() if a != alpha},
        "use_rslora": False,
    }


def _peft_tensors(layers: Layers, prefix: str, magnitude: str) -> dict[str, Tensor]:
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{prefix}{name}.lora_A.weight"] = layer.down
        tensors[f"{prefix}{name}.lora_B.weight"] = layer.up
        if layer.row_scale is not None:
            shape = [-1] if layer.down.dim() == 2 else [1, -1, *[1] * (layer.down.dim() - 2)]
            tensors[f"{prefix}{name}.{magnitude}"] = layer.row_scale.reshape(shape)
    return _plain(tensors)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: t.detach().to("cpu", torch.float32).contiguous() for key, t in tensors.items()}


def _write_peft(out: Path, layers: Layers, base: BaseModel | None) -> None:
    config = {
        "peft_type": "LORA",
        "use_dora": _uniform(layers, "PEFT"),
        **_peft_config(layers),
        "target_modules": "|".join(re.escape(name) for name in layers),
        "base_model_name_or_path": None if base is None else base.name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "task_type": None,
    }
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    (partial / PEFT_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")
    tensors = _peft_tensors(layers, PEFT_PREFIX, "lora_magnitude_vector")
    write_tensors(partial / PEFT_WEIGHTS, tensors, {"format": "pt"})
    os.replace(partial, out)


def _write_kohya(out: Path, layers: Layers, base: BaseModel | None) -> None:
    tensors = {}
    for name, layer in layers.items():
        key = f"lora_unet_{name.replace('.', '_')}"
        tensors[f"{key}.lora_down.weight"] = layer.down
        tensors[f"{key}.lora_up.weight"] = layer.up
        tensors[f"{key}.alpha"] = torch.tensor(layer.scale * layer.rank)
        if layer.row_scale is not None:
            tensors[f"{key}.dora_scale"] = shaped_scale(layer, layer.down.dim())
    write_tensors(out, _plain(tensors), {"format": "pt", "ss_network_module": "lycoris.kohya"})


def _diffusers_names(
    layers: Layers, base: BaseModel | None, tool: str
) -> tuple[str, dict[str, AdapterLayer]]:
    """Return the prefix, and the layers by the names that follow it."""
    if base is None:
        raise AdapterError(f"{tool} names the layers in its own way", fix=NEEDS_BASE)
    prefix = "transformer." if any(name.startswith("transformer.") for name in base.places) else "unet."
    named = onto_names(layers, base, prefix)
    return prefix, {_modern(name.removeprefix(prefix)): layer for name, layer in named.items()}


def _modern(name: str) -> str:
    """Return a UNet's name as diffusers writes it now; the host knows it from attention processors."""
    plain = name.replace(".processor.to_", ".to_")
    return f"{plain}.0" if plain != name and plain.endswith(".to_out") else plain


def _write_diffusers(out: Path, layers: Layers, base: BaseModel | None) -> None:
    prefix, named = _diffusers_names(layers, base, "diffusers")
    config = {
        "use_dora": _uniform(named, "diffusers"),
        **_peft_config(named),
        "target_modules": sorted(named),
    }
    packed = json.dumps({prefix + key: value for key, value in config.items()}, sort_keys=True)
    tensors = _peft_tensors(named, prefix, "lora_magnitude_vector")
    write_tensors(out, tensors, {"format": "pt", DIFFUSERS_METADATA: packed})


def _write_ai_toolkit(out: Path, layers: Layers, base: BaseModel | None) -> None:
    prefix, named = _diffusers_names(layers, base, "ai-toolkit")
    if prefix == "unet.":
        raise AdapterError("ai-toolkit keeps no alpha for a UNet", fix="convert to kohya")
    _uniform(named, "ai-toolkit")
    unscaled = {name: _unscaled(name, layer) for name, layer in named.items()}
    write_tensors(out, _peft_tensors(unscaled, prefix, "magnitude"), {"format": "pt"})


def _unscaled(name: str, layer: AdapterLayer) -> AdapterLayer:
    """Move s into B, which is exact for a power of two."""
    if math.frexp(layer.scale)[0] != 0.5:
        raise AdapterError(
            f"ai-toolkit has s = 1 only, and s = {layer.scale:g} of layer {name} cannot be moved into B exactly",
            fix="convert to another format",
        )
    return layer._replace(up=layer.up.float() * layer.scale, scale=1.0)


_WRITERS: dict[Target, Callable[[Path, Layers, BaseModel | None], None]] = {
    Target.PEFT: _write_peft,
    Target.KOHYA: _write_kohya,
    Target.DIFFUSERS: _write_diffusers,
    Target.AI_TOOLKIT: _write_ai_toolkit,
}
