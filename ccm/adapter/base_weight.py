"""The weight W0 that a layer stands for, whatever format it is stored in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

PROBE_ROWS = 512  # rows of the identity that go through a quantised layer at a time


@torch.no_grad()
def base_weight(layer: Any) -> Tensor:
    """Return W0 of a linear layer [out,in] or a convolution [out,in,kh,kw].

    A weight of bytes in a linear layer may have scales that only the layer knows; it is read, in fp32, from what
    the layer makes of the rows of the identity.
    """
    weight = layer.weight.detach()
    plain = type(weight) is Tensor and weight.dtype.itemsize > 1
    if plain or not hasattr(layer, "in_features"):
        return weight
    columns = torch.empty(layer.in_features, layer.out_features, device=weight.device)
    for start in range(0, layer.in_features, PROBE_ROWS):
        part = columns[start : start + PROBE_ROWS]
        rows = torch.zeros(len(part), layer.in_features, device=weight.device)
        rows.diagonal(start).fill_(1)
        part.copy_(without_bias(layer, rows))
    return columns.T


def without_bias(layer: Any, rows: Tensor) -> Tensor:
    """W0 rows^T, transposed, in fp32: [k,n] -> [k,out].

    The bias is replaced for this call, since subtracting it afterwards would cost digits in bf16.
    """
    zero = {} if layer.bias is None else {"bias": torch.zeros_like(layer.bias)}
    return functional_call(layer, zero, (rows.to(input_dtype(layer)),)).float()


def input_dtype(layer: Any) -> torch.dtype:
    """The widest dtype in which a linear layer can be called.

    That is fp32 where it casts its weight to the dtype of its input, as the host's `manual_cast` layers do; else
    the dtype of its weight, or where that is quantised, of its bias, or what the host's layer says it computes in.
    """
    if isinstance(layer, nn.Linear) and getattr(layer, "comfy_cast_weights", False):
        return torch.float32
    known = [p.dtype for p in (layer.weight, layer.bias) if p is not None]
    known += [dtype for dtype in [getattr(layer, "factory_kwargs", {}).get("dtype")] if dtype]
    return next((dtype for dtype in known if dtype.itemsize > 1), torch.bfloat16)
