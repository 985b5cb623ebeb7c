"""Read the LoRA and DoRA files of other tools, name by name as they stand there.

| tool | layer name | factors | magnitude | scale |
|---|---|---|---|---|
| this pack | diffusion_model.<module> | lora_A, lora_B | dora_scale | .alpha / r |
| PEFT | base_model.model.<module> | lora_A, lora_B | lora_magnitude_vector [out] | adapter_config.json |
| kohya, LyCORIS, OneTrainer | lora_unet_<flat>, lycoris_<flat> | lora_down, lora_up | dora_scale | .alpha / r |
| diffusers | transformer.<module>, unet.<module> | lora_A, lora_B | lora_magnitude_vector | metadata, else 1 |
| ai-toolkit | transformer.<module>, lora_unet_<flat> | lora_A, lora_B | magnitude [out] | 1 |

In all of them DoRA divides by the norm of V = W0 + s B A: PEFT and ai-toolkit for each output, LyCORIS for each
output (its `wd_on_output`, the default since April 2025, dora_scale [out, 1]) or each input (the default before,
[1, in]). LyCORIS adds the float's eps to the norm, which is 1.2e-7 / ||V|| of the result.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import AdapterError
from .dora import AdapterLayer, Convention
from .fileformat import PREFIX, check_layer, load_tensors, read_adapter

PEFT_WEIGHTS, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PEFT_PREFIX = "base_model.model."
TEXT_ENCODERS = ("lora_te", "lora_prior_te", "text_encoder", "text_encoders")
FLAT = ("lora_unet_", "lycoris_", "lora_transformer_", "lora_prior_unet_")
DIFFUSERS_METADATA = "lora_adapter_metadata"

DOWN = (
    ".lora_A.weight",
    ".lora_A.default.weight",
    ".lora_down.weight",
    ".lora.down.weight",
    "_lora.down.weight",
)
UP = (".lora_B.weight", ".lora_B.default.weight", ".lora_up.weight", ".lora.up.weight", "_lora.up.weight")
MAGNITUDE = (
    ".lora_magnitude_vector",
    ".lora_magnitude_vector.weight",
    ".lora_magnitude_vector.default.weight",
    ".magnitude",
)
PARTS = {
    **dict.fromkeys(DOWN, "down"),
    **dict.fromkeys(UP, "up"),
    **dict.fromkeys(MAGNITUDE, "magnitude"),
    ".dora_scale": "dora_scale",
    ".alpha": "alpha",
}
NOT_LOW_RANK = {
    ".lora_mid.weight": "a Tucker factor",
    ".lora_B.bias": "a LoRA bias",
    ".hada_": "LoHa",
    ".lokr_": "LoKr",
    ".oft_": "OFT",
    ".diff": "a full difference",
    ".w_norm": "a trained norm",
}


class Kind(str, Enum):
    """Whose file it is."""

    CCM = "ccm"
    PEFT = "peft"
    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    AI_TOOLKIT = "ai-toolkit"
    HOST = "host"  # the host's own module names, and no metadata of this pack


@dataclass(frozen=True)
class ForeignAdapter:
    """An adapter file of any tool.

    `layers` holds what was trained and `stock` what ComfyUI's own LoRA loader takes the same tensors for, both
    by the layer name as it stands in the file; the loader applies nothing useful where it has None. `problems`
    keep the file from being converted, `notes` do not.
    """

    path: Path
    kind: Kind
    layers: dict[str, AdapterLayer]
    stock: dict[str, AdapterLayer | None]
    metadata: dict[str, str]
    text_encoder_layers: int
    problems: list[str]
    notes: list[str]

    @property
    def convention(self) -> Convention:
        """Return what the scales of the trained layers mean; LORA if there are none."""
        found = {layer.convention for layer in self.layers.values()} - {Convention.LORA}
        return min(found, default=Convention.LORA)


class _Layer(NamedTuple):
    trained: AdapterLayer
    stock: AdapterLayer | None


def read_foreign(path: Path | str) -> ForeignAdapter:
    """Read an adapter of any tool: a safetensors file, or the folder that PEFT writes.

    Defects of single layers become `problems`. Raises AdapterError for a file that cannot be read at all.
    """
    file = _file(Path(path))
    tensors, metadata = load_tensors(file)
    groups, unknown = _group(tensors)
    kind = _kind(file, metadata, tensors)
    scales = _Scales(file, kind, metadata)
    text = {name for name in groups if name.startswith(TEXT_ENCODERS)}
    problems = _unreadable(unknown) if groups else ["The file holds no LoRA layer", *_unreadable(unknown)]
    layers: dict[str, AdapterLayer] = {}
    stock: dict[str, AdapterLayer | None] = {}
    for name in sorted(groups.keys() - text):
        try:
            layers[name], stock[name] = _layer(name, groups[name], scales)
        except AdapterError as error:
            problems.append(error.problem)
    notes = _notes(kind, groups, metadata)
    if kind is Kind.CCM and not problems:
        try:
            layers = {PREFIX + name: layer for name, layer in read_adapter(file).layers.items()}
        except AdapterError as error:
            problems.append(error.problem)
    return ForeignAdapter(file, kind, layers, stock, metadata, len(text), problems, notes)


def _file(path: Path) -> Path:
    if path.name == PEFT_CONFIG:
        path = path.parent
    return path / PEFT_WEIGHTS if path.is_dir() else path


def _group(tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """Sort the tensors into {layer name: {part: tensor}}, and those that are no part of one."""
    groups: dict[str, dict[str, Tensor]] = {}
    unknown: list[str] = []
    for key, tensor in tensors.items():
        suffix = max((s for s in PARTS if key.endswith(s)), key=len, default=None)
        if suffix is None or len(key) == len(suffix):
            unknown.append(key)
        else:
            groups.setdefault(key[: -len(suffix)], {})[PARTS[suffix]] = tensor
    return groups, unknown


def _kind(file: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Kind:
    keys = list(tensors)
    if "ccm.format" in metadata:
        return Kind.CCM
    if any(key.endswith(".magnitude") for key in keys):
        return Kind.AI_TOOLKIT
    if any(key.startswith(PEFT_PREFIX) for key in keys) or (
        file.name == PEFT_WEIGHTS and file.with_name(PEFT_CONFIG).is_file()
    ):
        return Kind.PEFT
    if any(key.startswith(FLAT) for key in keys):
        return Kind.KOHYA
    if any(key.startswith(PREFIX) for key in keys):
        return Kind.HOST
    return Kind.DIFFUSERS


class _Scales:
    """s of each layer: from `.alpha`, from PEFT's configuration, or 1."""

    def __init__(self, file: Path, kind: Kind, metadata: Mapping[str, str]) -> None:
        self.configs: dict[str, dict[str, Any]] = {}
        if kind is Kind.PEFT:
            self.configs[""] = _peft_config(file.with_name(PEFT_CONFIG))
        elif DIFFUSERS_METADATA in metadata:
            packed = _json(metadata[DIFFUSERS_METADATA], f"{DIFFUSERS_METADATA} of {file}")
            for key, value in packed.items():
                part, _, entry = key.partition(".")
                self.configs.setdefault(f"{part}.", {})[entry] = value

    def of(self, name: str, rank: int, alpha: Tensor | None) -> float:
        if alpha is not None:
            return float(alpha.float().mean()) / max(1, rank)
        for prefix, config in self.configs.items():
            if name.startswith(prefix) and "lora_alpha" in config:
                bare = name.removeprefix(prefix).removeprefix(PEFT_PREFIX)
                try:
                    value = float(_by_pattern(config.get("alpha_pattern") or {}, bare, config["lora_alpha"]))
                except (re.error, TypeError, ValueError, AttributeError) as error:
                    raise AdapterError(
                        f"The configuration gives no alpha of layer {name} ({error})", fix="correct it"
                    ) from error
                return value / max(1.0, math.sqrt(rank) if config.get("use_rslora") else rank)
        return 1.0


def _by_pattern(patterns: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return the value of the first pattern that matches the whole name or its end, as PEFT looks it up."""
    return next((v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", name)), default)


def _peft_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AdapterError(
            f"There is no {PEFT_CONFIG} beside the PEFT weights, so their scale is unknown",
            fix=f"put {PEFT_CONFIG} of the training back into {path.parent}",
        )
    config = _json(path.read_text("utf-8"), str(path))
    for key, what in (("fan_in_fan_out", "transposed weights"), ("modules_to_save", "fully trained modules")):
        if config.get(key):
            raise AdapterError(
                f"{path} says that the adapter has {what} ({key})", fix="train LoRA or DoRA layers only"
            )
    if config.get("peft_type", "LORA") != "LORA":
        raise AdapterError(f"{path} describes {config['peft_type']}", fix="use a LoRA or DoRA adapter")
    return config


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise AdapterError(f"{what} is not JSON ({error})", fix="copy the adapter again") from error
    if not isinstance(found, dict):
        raise AdapterError(f"{what} holds no JSON object", fix="copy the adapter again")
    return found


def _layer(name: str, parts: Mapping[str, Tensor], scales: _Scales) -> _Layer:
    missing = [part for part in ("down", "up") if part not in parts]
    if missing:
        raise AdapterError(
            f"Layer {name} lacks its {' and '.join(missing)} factor", fix="copy the file again"
        )
    if "magnitude" in parts and "dora_scale" in parts:
        raise AdapterError(f"Layer {name} has two magnitudes", fix="copy the file again")
    down, up = parts["down"], parts["up"]
    rank = down.shape[0] if down.dim() else 1
    scale = scales.of(name, rank, parts.get("alpha"))
    plain = AdapterLayer(down, up, scale)
    trained = plain
    for part in ("magnitude", "dora_scale"):
        if part in parts:
            trained = _with_magnitude(name, plain, part, parts[part])
    check_layer(name, trained)
    return _Layer(trained, _as_stock(plain, trained, parts))


def _with_magnitude(name: str, layer: AdapterLayer, part: str, magnitude: Tensor) -> AdapterLayer:
    """Find the axis of a magnitude: `dora_scale` tells it by its shape, the others are one value per output."""
    shape, size = list(magnitude.shape), magnitude.numel()
    rows, columns = (layer.up.shape or [0])[0], (*layer.down.shape, 0, 0)[1]
    if size == rows and (part == "magnitude" or shape[:1] == [rows]):
        return layer._replace(row_scale=magnitude.flatten(), convention=Convention.TRUE_M)
    if part == "dora_scale" and size == columns and shape[:2] == [1, columns]:
        return layer._replace(row_scale=magnitude.flatten(), convention=Convention.INPUT_AXIS)
    raise AdapterError(
        f"Layer {name} has a magnitude {shape} that fits neither its {rows} outputs nor its {columns} inputs",
        fix="copy the file again",
    )


def _as_stock(plain: AdapterLayer, trained: AdapterLayer, parts: Mapping[str, Tensor]) -> AdapterLayer | None:
    """Return what the stock loader applies: s = 1 without `.alpha`, and a `dora_scale` as it understands it."""
    seen = plain if "alpha" in parts else plain._replace(scale=1.0)
    scale = parts.get("dora_scale")
    if scale is None or trained.row_scale is None:
        return seen
    if scale.dim() < 2:
        return None  # multiplied as a row vector: fails, or on a square layer scales the columns
    kind = Convention.CORRECTED if scale.shape[0] == plain.up.shape[0] else trained.convention
    return seen._replace(row_scale=trained.row_scale, convention=kind)


def _unreadable(keys: list[str]) -> list[str]:
    problems = []
    for mark, what in NOT_LOW_RANK.items():
        marked = [key for key in keys if mark in key]
        keys = [key for key in keys if mark not in key]
        if marked:
            problems.append(
                f"{len(marked)} tensors are {what}, which no LoRA or DoRA layer can hold ({marked[0]})"
            )
    if keys:
        problems.append(f"{len(keys)} tensors belong to no known format ({', '.join(keys[:3])})")
    return problems


def _notes(kind: Kind, groups: Mapping[str, Mapping[str, Tensor]], metadata: Mapping[str, str]) -> list[str]:
    notes = []
    magnitudes = [p[k] for p in groups.values() for k in ("magnitude", "dora_scale") if k in p]
    small = {str(m.dtype).removeprefix("torch.") for m in magnitudes if m.dtype != torch.float32}
    if small & {"float16", "bfloat16"}:
        notes.append(
            f"The magnitudes are stored in {', '.join(sorted(small))}, which alone costs up to a few percent of "
            "what the adapter does"
        )
    if any(p["dora_scale"].dim() < 2 for p in groups.values() if "dora_scale" in p):
        notes.append("dora_scale has one axis; it is read as one value per output")
    if kind is Kind.AI_TOOLKIT and any(name.startswith(FLAT) for name in groups):
        notes.append(
            "ai-toolkit writes no alpha for a UNet; s = 1 is right only if it was trained with alpha = rank"
        )
    if (
        kind is Kind.DIFFUSERS
        and DIFFUSERS_METADATA not in metadata
        and not any("alpha" in p for p in groups.values())
    ):
        notes.append("The file says nothing of alpha; s = 1, as diffusers takes it")
    return notes
