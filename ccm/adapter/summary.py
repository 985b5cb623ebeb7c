"""What an adapter is, in a few lines for the user."""

from __future__ import annotations

from .dora import Convention
from .fileformat import NOTICE, AdapterFile

KINDS = {
    Convention.LORA: "plain LoRA",
    Convention.TRUE_M: "WDLoRA (DoRA) with true magnitudes",
    Convention.CORRECTED: "WDLoRA (DoRA) with corrected row scales, exact in the stock LoRA loader too",
    Convention.INPUT_AXIS: "WDLoRA (DoRA) with magnitudes on the input axis, as older LyCORIS trained them",
}


def describe(adapter: AdapterFile, name: str, base: str) -> str:
    """Return the info text; `base` is the sentence of `check_base`."""
    ranks = sorted({layer.rank for layer in adapter.layers.values()})
    training = ", ".join(f"{key} {value}" for key, value in sorted(adapter.training.items()))
    return "\n".join(
        [
            f"adapter: {name}",
            f"kind: {KINDS[adapter.convention]}",
            f"rank: {', '.join(map(str, ranks))} on {len(adapter.layers)} layers",
            base,
            f"training: {training or 'not recorded'}",
            NOTICE,
        ]
    )
