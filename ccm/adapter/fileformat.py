"""The adapter file: safetensors that the stock ComfyUI LoRA loader reads too, and metadata on what it holds.

Tensors of each layer, by the host's own module name; A and B in the shapes that PEFT trains:

    diffusion_model.<module>.lora_A.weight   [r, in] or [r, in, kh, kw]
    diffusion_model.<module>.lora_B.weight   [out, r] or [out, r, 1, 1]
    diffusion_model.<module>.alpha           [] = s r; where it is missing, s = 1, as the host has it
    diffusion_model.<module>.dora_scale      [out, 1] or [out, 1, 1, 1]; a plain LoRA has none; on the input
                                             axis [1, in] or [1, in, 1, 1]

Metadata keys start with `ccm.`. `ccm.convention` says what dora_scale means (see `Convention`); the two
output-axis conventions look alike, and a file without the key holds true magnitudes. A corrected file carries the true
magnitudes too, in `ccm.magnitude`, so that the exact formula does not depend on a cast of the base, while the
stock loader finds no key that it does not know. All tensors are written in fp32.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import AdapterError
from .dora import AdapterLayer, Convention, in_convention
from .fingerprint import fingerprint, sample
from .fit import check_fit
from .packing import pack, unpack

PREFIX = "diffusion_model."
FORMAT = "1"
NOTICE = "Synthetic images, for research only. Not for clinical use."
FORMULAS = {
    Convention.LORA: "W' = W0 + s B A",
    Convention.TRUE_M: "W' = m V / ||V||, V = W0 + s B A, dora_scale = m",
    Convention.CORRECTED: "W' = c V / (||W0|| + eps), V = W0 + s B A, dora_scale = c",
    Convention.INPUT_AXIS: "W'_j = m_j V_j / (||V_j|| + eps) for each input j, V = W0 + s B A, dora_scale = m",
}
PARTS = ("lora_A.weight", "lora_B.weight", "alpha", "dora_scale")
RETRAIN = "copy the file again, or export it again from the trainer"


@dataclass(frozen=True)
class AdapterFile:
    """A file that was read: its layers by module name (no prefix), its convention and its metadata."""

    layers: dict[str, AdapterLayer]
    convention: Convention
    metadata: dict[str, str]

    @property
    def base_fingerprint(self) -> str | None:
        """The base it was trained on (see `fingerprint`), if the file says."""
        return self.metadata.get("ccm.base_fingerprint")

    @property
    def training(self) -> dict[str, Any]:
        """What the trainer recorded about itself; empty if the file does not say."""
        try:
            recorded = json.loads(self.metadata.get("ccm.training", "{}"))
        except json.JSONDecodeError:
            return {}
        return recorded if isinstance(recorded, dict) else {}


def save_adapter(
    path: Path | str,
    layers: Mapping[str, AdapterLayer],
    base: Mapping[str, Tensor],
    *,
    convention: Convention = Convention.CORRECTED,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter atomically.

    `layers` and `base` (the weights W0 [out, ...] that it was trained on) go by module name without prefix, as
    `layers_from_peft` and `base_from_peft` return them. CORRECTED is what the stock loader of today's hosts
    applies exactly; a plain LoRA and magnitudes on the input axis ignore `convention`. `training` is any
    JSON-able record of how it was made.
    Raises AdapterError if a layer does not fit its base or holds NaN or infinite values.
    """
    converted: dict[str, AdapterLayer] = {}
    tensors: dict[str, Tensor] = {}
    samples: dict[str, Tensor] = {}
    magnitudes: list[Tensor] = []
    for name, layer in sorted(layers.items()):
        check_layer(name, layer)
        weight = base.get(name)  # asked for once, as it may come from disk
        check_fit({name: layer}, {} if weight is None else {name: weight.shape})
        assert weight is not None
        converted[name] = in_convention(weight, layer, convention)
        tensors |= _tensors(name, converted[name], weight.dim())
        samples[name] = sample(weight)
        if converted[name].convention is Convention.CORRECTED:
            true = in_convention(weight, layer, Convention.TRUE_M).row_scale
            magnitudes += [] if true is None else [true.cpu().float()]
    kind = _one_convention(converted)
    metadata = _metadata(converted, kind, training or {})
    metadata["ccm.base_fingerprint"] = fingerprint(samples)
    if magnitudes:
        metadata["ccm.magnitude"] = pack(torch.cat(magnitudes))
    write_tensors(Path(path), tensors, metadata)


def _one_convention(layers: Mapping[str, AdapterLayer]) -> Convention:
    kinds = {layer.convention for layer in layers.values()} - {Convention.LORA}
    if len(kinds) > 1:
        raise AdapterError(
            "The adapter has magnitudes on the input axis in some layers and on the output axis in others",
            fix="train it with one axis",
        )
    return kinds.pop() if kinds else Convention.LORA


def read_adapter(path: Path | str) -> AdapterFile:
    """Read and check an adapter file.

    Raises AdapterError for a file that is missing, empty, truncated or not safetensors, that holds tensors of
    another kind, incomplete layers, shapes that contradict each other, or NaN or infinite values.
    """
    tensors, metadata = load_tensors(Path(path))
    if metadata.get("ccm.format", FORMAT) != FORMAT:
        raise AdapterError(
            f"{path} has format {metadata['ccm.format']}, this version reads format {FORMAT}",
            fix="update ComfyUI-CCM",
        )
    try:
        convention = Convention(metadata.get("ccm.convention", Convention.TRUE_M))
    except ValueError:
        known = ", ".join(c.value for c in Convention)
        raise AdapterError(
            f"{path} has the convention {metadata['ccm.convention']!r}; known are {known}", fix=RETRAIN
        ) from None
    groups = _group(path, tensors)
    layers = {name: _layer(name, parts, convention) for name, parts in groups.items()}
    for name, layer in layers.items():
        check_layer(name, layer)
    if all(layer.row_scale is None for layer in layers.values()):
        convention = Convention.LORA
    elif convention is Convention.LORA:
        raise AdapterError(f"{path} says that it is a plain LoRA, but holds dora_scale tensors", fix=RETRAIN)
    if convention is Convention.CORRECTED and "ccm.magnitude" in metadata:
        layers = _with_magnitudes(path, layers, metadata["ccm.magnitude"])
    return AdapterFile(layers, convention, metadata)


def check_layer(name: str, layer: AdapterLayer) -> None:
    """Raise AdapterError unless the shapes of the layer belong together and all its values are finite."""
    down, up, row_scale = layer.down, layer.up, layer.row_scale
    consistent = min(down.dim(), up.dim()) >= 2 and 0 < up.numel() == up.shape[0] * down.shape[0]
    if not consistent or (row_scale is not None and row_scale.numel() != _rows(layer)):
        got = f"A {list(down.shape)}, B {list(up.shape)}"
        got += "" if row_scale is None else f", dora_scale of {row_scale.numel()}"
        raise AdapterError(f"Layer {name} holds shapes that do not belong together: {got}", fix=RETRAIN)
    values = [down, up] if row_scale is None else [down, up, row_scale]
    if not all(torch.isfinite(v.float()).all() for v in values) or not abs(layer.scale) < float("inf"):
        raise AdapterError(
            f"Layer {name} holds NaN or infinite values",
            fix="use an earlier checkpoint, and train with a lower learning rate",
        )


def shaped_scale(layer: AdapterLayer, weight_dims: int) -> Tensor:
    """Return the scale of a DoRA layer as the stock loader reads it: [out, 1, ...], or [1, in, 1, ...]."""
    assert layer.row_scale is not None
    ones = [1] * (weight_dims - 1)
    if layer.convention is Convention.INPUT_AXIS:
        return layer.row_scale.reshape(1, -1, *ones[1:])
    return layer.row_scale.reshape(-1, *ones)


def _rows(layer: AdapterLayer) -> int:
    """Return how many values the scale of a layer must have."""
    return layer.down.shape[1] if layer.convention is Convention.INPUT_AXIS else layer.up.shape[0]


def _tensors(name: str, layer: AdapterLayer, weight_dims: int) -> dict[str, Tensor]:
    key = f"{PREFIX}{name}."
    tensors = {
        f"{key}lora_A.weight": layer.down,
        f"{key}lora_B.weight": layer.up,
        f"{key}alpha": torch.tensor(layer.scale * layer.rank),
    }
    if layer.row_scale is not None:
        tensors[f"{key}dora_scale"] = shaped_scale(layer, weight_dims)
    return {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in tensors.items()}


def _metadata(
    layers: Mapping[str, AdapterLayer], kind: Convention, training: Mapping[str, Any]
) -> dict[str, str]:
    return {
        "format": "pt",
        "ccm.format": FORMAT,
        "ccm.convention": kind.value,
        "ccm.formula": FORMULAS[kind],
        "ccm.rank": ", ".join(str(r) for r in sorted({layer.rank for layer in layers.values()})),
        "ccm.layers": str(len(layers)),
        "ccm.training": json.dumps(dict(training), sort_keys=True),
        "ccm.notice": NOTICE,
    }


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file of tensors [...] by name; a whole file, old or new, is there at any moment."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _with_magnitudes(
    path: Path | str, layers: dict[str, AdapterLayer], packed: str
) -> dict[str, AdapterLayer]:
    """Replace the corrected scales by the true magnitudes of the metadata, which go by sorted layer name."""
    names = [name for name in sorted(layers) if layers[name].row_scale is not None]
    sizes = [layers[name].up.shape[0] for name in names]
    try:
        magnitudes = unpack(packed, sum(sizes)).split(sizes)
    except ValueError as error:
        raise AdapterError(f"{path} has a damaged ccm.magnitude ({error})", fix=RETRAIN) from error
    true = {
        name: layers[name]._replace(row_scale=m, convention=Convention.TRUE_M)
        for name, m in zip(names, magnitudes, strict=True)
    }
    for name, layer in true.items():
        check_layer(name, layer)
    return {**layers, **true}


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors [...] by name and the metadata of a safetensors file; raises AdapterError where it is none."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise AdapterError(f"There is no adapter file {path}", fix="check the path")
    if path.stat().st_size == 0:
        raise AdapterError(f"The adapter file {path} is empty", fix=RETRAIN)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{path} is truncated or not a safetensors file ({error})", fix=RETRAIN) from error


def _group(path: Path | str, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Sort the tensors into {module name: {part: tensor}}."""
    groups: dict[str, dict[str, Tensor]] = {}
    unknown: list[str] = []
    for key, tensor in tensors.items():
        part = next((p for p in PARTS if key.endswith(f".{p}")), None)
        if part is None or not key.startswith(PREFIX):
            unknown.append(key)
        else:
            groups.setdefault(key[len(PREFIX) : -len(part) - 1], {})[part] = tensor
    if unknown or not groups:
        few = ", ".join(unknown[:3]) or "none"
        raise AdapterError(
            f"{path} holds {len(unknown)} of {len(tensors)} keys that this pack cannot apply ({few})",
            fix="convert the file with `python . adapter convert`, or load it with ComfyUI's own LoRA loader",
        )
    return groups


def _layer(name: str, parts: Mapping[str, Tensor], convention: Convention) -> AdapterLayer:
    missing = [part for part in PARTS[:2] if part not in parts]
    if missing:
        raise AdapterError(f"Layer {name} lacks {' and '.join(missing)}", fix=RETRAIN)
    down, up, row_scale = parts["lora_A.weight"], parts["lora_B.weight"], parts.get("dora_scale")
    rank = down.shape[0] if down.dim() else 1
    scale = float(parts["alpha"].float().mean()) / max(1, rank) if "alpha" in parts else 1.0
    if row_scale is None:
        return AdapterLayer(down, up, scale)
    axis = 1 if convention is Convention.INPUT_AXIS else 0
    if row_scale.dim() <= axis or row_scale.shape[axis] != row_scale.numel():
        wanted = "column" if axis else "output row"
        raise AdapterError(
            f"Layer {name} has a dora_scale {list(row_scale.shape)}; expected one value per {wanted}",
            fix="convert the file with `python . adapter convert`",
        )
    return AdapterLayer(down, up, scale, row_scale.flatten(), convention)
