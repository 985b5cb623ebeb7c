"""What an adapter file of any tool holds, in lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .dialects import ForeignAdapter, Kind
from .dora import Convention
from .fileformat import AdapterFile

KINDS = {
    Kind.CCM: "ComfyUI-CCM",
    Kind.PEFT: "PEFT",
    Kind.KOHYA: "kohya, LyCORIS or OneTrainer",
    Kind.DIFFUSERS: "diffusers",
    Kind.AI_TOOLKIT: "ai-toolkit",
    Kind.HOST: "ComfyUI module names",
}
CONVENTIONS = {
    Convention.LORA: "plain LoRA: W' = W0 + s B A",
    Convention.TRUE_M: "DoRA, one true magnitude per output: W' = m V / ||V||",
    Convention.CORRECTED: "DoRA, corrected scales for the stock loader: W' = c V / (||W0|| + eps)",
    Convention.INPUT_AXIS: "DoRA, one magnitude per input: W'_j = m_j V_j / (||V_j|| + eps)",
}
SHOWN = 100  # characters of a metadata value


def inspect(adapter: ForeignAdapter) -> list[str]:
    """Return the lines that `python . adapter inspect` prints."""
    convention = adapter.convention
    written = adapter.metadata.get("ccm.convention")
    if adapter.kind is Kind.CCM and written == Convention.CORRECTED.value:
        convention = Convention.CORRECTED
    layers = adapter.layers.values()
    parameters = sum(
        v.down.numel() + v.up.numel() + (0 if v.row_scale is None else v.row_scale.numel()) for v in layers
    )
    lines = [
        f"file: {adapter.path} ({adapter.path.stat().st_size / 1e6:.2f} MB)",
        f"format: {KINDS[adapter.kind]}",
        f"kind: {CONVENTIONS[convention]}",
        f"layers: {len(adapter.layers)}, {parameters:,} parameters"
        + (f"; {adapter.text_encoder_layers} more in text encoders" if adapter.text_encoder_layers else ""),
        f"rank: {_counts(layer.rank for layer in layers)}",
        f"alpha: {_counts(round(layer.scale * layer.rank, 6) for layer in layers)}",
        f"scale s: {_counts(round(layer.scale, 6) for layer in layers)}",
        f"dtype: {_counts(str(layer.down.dtype).removeprefix('torch.') for layer in layers)}",
        f"base fingerprint: {_base(adapter)}",
        *(f"metadata {key}: {_short(value)}" for key, value in _told(adapter).items()),
        *(f"note: {note}" for note in adapter.notes),
        *(f"PROBLEM: {problem}" for problem in adapter.problems),
    ]
    return [*lines, *(f"  {_layer_line(name, adapter)}" for name in adapter.layers)]


def _counts(values: Iterable[float | int | str]) -> str:
    """Return the distinct values, the most frequent first, with how often they occur if there are several."""
    counted = Counter(values).most_common()
    if len(counted) == 1:
        return f"{counted[0][0]}"
    return ", ".join(f"{value} ({count} layers)" for value, count in counted) or "none"


def _base(adapter: ForeignAdapter) -> str:
    file = AdapterFile({}, Convention.LORA, adapter.metadata)
    return "none in the file" if file.base_fingerprint is None else "recorded; `verify --base` compares it"


def _told(adapter: ForeignAdapter) -> dict[str, str]:
    hidden = ("ccm.magnitude", "ccm.base_fingerprint", "format")
    return {key: value for key, value in sorted(adapter.metadata.items()) if key not in hidden}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."


def _layer_line(name: str, adapter: ForeignAdapter) -> str:
    layer = adapter.layers[name]
    inputs = " x ".join(str(n) for n in layer.down.shape[1:])
    return f"{name}: {inputs} -> {layer.up.shape[0]}, rank {layer.rank}"
