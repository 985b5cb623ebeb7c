"""Tell whether a model's base weights are those that an adapter was trained on, whatever their dtype.

A cryptographic hash would change with every cast, so the fingerprint is a sample: SAMPLES weights of each
adapted layer, at places that depend on nothing but the layer's size. Two bases are compared by the relative
distance of the samples in the median layer: 0 for the same file, below 0.1 for a bf16, fp16 or fp8 cast of
it, about 1.4 for independently trained weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .packing import pack, unpack

SAMPLES = 16
SAME_BASE = 0.5  # largest median distance that still counts as a cast of the same base
STRIDE = (
    2654435761  # 2^32 / golden ratio: spreads the places over rows and columns (Knuth, TAOCP vol. 3, 6.4)
)


def sample(weight: Tensor) -> Tensor:
    """Return fp32 values [SAMPLES] of a weight of any shape and float dtype, on the CPU."""
    places = [i * STRIDE % weight.numel() for i in range(SAMPLES)]
    return weight.detach().reshape(-1)[torch.tensor(places, device=weight.device)].to("cpu", torch.float32)


def fingerprint(samples: Mapping[str, Tensor]) -> str:
    """Return the samples [SAMPLES] of the layers, sorted by name, as text for the file's metadata."""
    return pack(_stack(samples))


def distance(recorded: str, samples: Mapping[str, Tensor]) -> float:
    """Return ||a - b|| / ||b|| in the median layer; inf if not comparable.

    a are the samples [SAMPLES] of the layers of this base, b those that `fingerprint` recorded.
    """
    a = _stack(samples)
    try:
        b = unpack(recorded, a.numel()).reshape(a.shape)
    except ValueError:
        return math.inf
    size = b.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    return float(((a - b).norm(dim=1) / size).quantile(0.5))


def _stack(samples: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([samples[name] for name in sorted(samples)])  # [layers, SAMPLES]
