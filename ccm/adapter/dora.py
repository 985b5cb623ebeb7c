"""DoRA, weight-decomposed low-rank adaptation (Liu et al. 2024, arXiv 2402.09353), exact in fp32.

    W' = m V / ||V||,   V = W0 + s B A

Symbols: `base` is W0 [out, ...]; `down` is A [r, ...], `up` is B [out, r]; s is `scale` (alpha / r, or
alpha / sqrt(r) for rsLoRA); m is one magnitude per output row; ||.|| is the Euclidean norm of each output
row over all other axes, so that a convolution is its kernel flattened to [out, in * kh * kw].
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

NORM_FLOOR = 1e-12  # keeps an all-zero row at zero, where 0 / 0 would be NaN
HOST_EPS = torch.finfo(torch.float32).eps  # what ComfyUI adds to ||W0|| in its fp32 path


class Convention(str, Enum):
    """What the scale of a layer means.

    LORA has none: W' = V. TRUE_M is the magnitude m of the paper. CORRECTED is c = m (||W0|| + eps) / ||V||,
    with which the stock ComfyUI loader, dividing by ||W0|| + eps instead of ||V||, gives the exact W'.
    INPUT_AXIS is one magnitude per input, as LyCORIS trained until April 2025: column j of W' is
    m_j V_j / (||V_j|| + eps), which the stock loader applies exactly.
    """

    LORA = "lora"
    TRUE_M = "true-m"
    CORRECTED = "corrected"
    INPUT_AXIS = "input-axis"


class AdapterLayer(NamedTuple):
    """One layer: A [r, in] or [r, in, kh, kw], B [out, r] or [out, r, 1, 1], s, row scale [out].

    In the convention INPUT_AXIS the scale is [in], one value per column.
    """

    down: Tensor
    up: Tensor
    scale: float
    row_scale: Tensor | None = None
    convention: Convention = Convention.LORA

    @property
    def rank(self) -> int:
        """r, the number of rows of A."""
        return self.down.shape[0]


def row_norm(weight: Tensor) -> Tensor:
    """Return ||W|| of each output row: [out, ...] -> [out]."""
    return weight.flatten(1).norm(dim=1)


def column_norm(weight: Tensor) -> Tensor:
    """Return ||W|| of each input over all other axes: [out, in, ...] -> [in]."""
    return weight.transpose(0, 1).flatten(1).norm(dim=1)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Shape [out] so that it multiplies the rows of `like` [out, ...]."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def direction(base: Tensor, layer: AdapterLayer) -> Tensor:
    """Return V = W0 + s B A in fp32, like `base` W0 [out, in] or [out, in, kh, kw] (arXiv 2402.09353, eq. 5)."""
    up = layer.up.to(base.device, torch.float32).flatten(1)
    down = layer.down.to(base.device, torch.float32).flatten(1)
    return torch.addmm(base.float().flatten(1), up, down, alpha=layer.scale).reshape(base.shape)


def merged(base: Tensor, layer: AdapterLayer) -> Tensor:
    """Return W' in fp32, like `base` [out, ...]: V, or V scaled by row or by column, by the layer's convention.

    m V / ||V|| (arXiv 2402.09353, eq. 5); CORRECTED is what the stock loader computes of `corrected_scale`.
    """
    v = direction(base, layer)
    if layer.row_scale is None:
        return v
    scale = layer.row_scale.to(base.device, torch.float32)
    if layer.convention is Convention.INPUT_AXIS:
        return v.mul_(per_row(scale / (column_norm(v) + HOST_EPS), v[0]))
    if layer.convention is Convention.CORRECTED:
        factor = scale / (row_norm(base.float()) + HOST_EPS)
    else:
        factor = scale / row_norm(v).clamp_min(NORM_FLOOR)
    return v.mul_(per_row(factor, v))


def update(base: Tensor, layer: AdapterLayer) -> Tensor:
    """Return W' - W0 in fp32, like `base` [out, ...]; at strength k the patched weight is W0 + k (W' - W0)."""
    return merged(base, layer).sub_(base)


def corrected_scale(m: Tensor, base: Tensor, v: Tensor) -> Tensor:
    """Return c = m (||W0|| + eps) / ||V|| [out], for the stock ComfyUI loader."""
    return (
        m.to(base.device, torch.float32)
        * (row_norm(base.float()) + HOST_EPS)
        / row_norm(v).clamp_min(NORM_FLOOR)
    )


def true_magnitude(c: Tensor, base: Tensor, v: Tensor) -> Tensor:
    """Return m = c ||V|| / (||W0|| + eps) [out]; undoes `corrected_scale`."""
    return (
        c.to(base.device, torch.float32)
        * row_norm(v).clamp_min(NORM_FLOOR)
        / (row_norm(base.float()) + HOST_EPS)
    )


def in_convention(base: Tensor, layer: AdapterLayer, convention: Convention) -> AdapterLayer:
    """Return the same W' in the other output-axis convention; a layer with no row scale stays what it is.

    `base` is W0 [out, ...], which both scales [out] are defined by.
    """
    if layer.convention in (Convention.LORA, Convention.INPUT_AXIS, convention):
        return layer
    convert = {Convention.CORRECTED: corrected_scale, Convention.TRUE_M: true_magnitude}[convention]
    row_scale = convert(layer.row_scale, base, direction(base, layer))
    return layer._replace(row_scale=row_scale, convention=convention)
