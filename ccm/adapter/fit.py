"""Whether an adapter belongs to a model: its layers are there, their shapes agree, the base is the same."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import AdapterError, AdapterMismatchError
from .dora import AdapterLayer, Convention
from .fingerprint import SAME_BASE, distance

if TYPE_CHECKING:
    from .fileformat import AdapterFile

log = logging.getLogger(__name__)

OTHER_BASE = "load the base model that the adapter was trained on"


def check_fit(layers: Mapping[str, AdapterLayer], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise AdapterMismatchError unless every layer has a weight of its shape in `shapes`, by module name."""
    unmatched = [name for name in layers if name not in shapes]
    if unmatched:
        raise AdapterMismatchError(
            f"{len(unmatched)} of {len(layers)} adapter layers are not in this model ({_few(unmatched)})",
            fix=OTHER_BASE,
        )
    misfits = [
        f"{name} {list(shapes[name])}" for name, layer in layers.items() if not _fits(layer, shapes[name])
    ]
    if misfits:
        raise AdapterMismatchError(
            f"{len(misfits)} of {len(layers)} adapter layers are not of the model's size ({_few(misfits)})",
            fix=OTHER_BASE,
        )


def check_strength(strength: float) -> None:
    """Raise AdapterError unless the strength is a finite number."""
    if not math.isfinite(strength):
        raise AdapterError(f"The adapter strength is {strength}", fix="use a number such as 1.0")


def check_base(adapter: AdapterFile, samples: Mapping[str, Tensor]) -> str:
    """Return one sentence on the base; `samples` holds `fingerprint.sample` [SAMPLES] of each weight.

    Raises AdapterMismatchError for a corrected file on another base, as the row norms of its own base are
    folded into its scale. Files with true magnitudes and plain LoRA suit any base; they only say so.
    """
    if adapter.base_fingerprint is None:
        return "base: the file does not say which one it was trained on"
    gap = distance(adapter.base_fingerprint, samples)
    if gap <= SAME_BASE:
        return "base: the one it was trained on" + (f" (a cast of it, {gap:.1%} off)" if gap > 0 else "")
    differs = f"its weights differ by {gap:.0%}" if math.isfinite(gap) else "its weights cannot be compared"
    if adapter.convention is Convention.CORRECTED:
        raise AdapterMismatchError(
            f"The adapter was trained on another base model: {differs}",
            fix=f"{OTHER_BASE}, or export the adapter with true magnitudes",
        )
    log.warning("The adapter was trained on another base model: %s.", differs)
    return f"base: NOT the one it was trained on, {differs}"


def _fits(layer: AdapterLayer, shape: Sequence[int]) -> bool:
    return shape[0] == layer.up.shape[0] and math.prod(shape[1:]) == layer.down[0].numel()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
