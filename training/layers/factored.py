"""DoRA whose row norms are computed from the factors, as a variant of PEFT's own LoRA layers.

DoRA (Liu et al. 2024, arXiv 2402.09353) replaces the frozen weight W0 [out,n] of a layer with bias b by

    W' = c V,   V = W0 + s B A,   c = m / ||V||

with A [r,n], B [out,r], one magnitude m and one Euclidean norm per output row; the norm counts as constant in
the backward pass (section 4.3 of the paper). PEFT builds V in every forward pass to take its norm. Expanding the
square needs products of rank r only:

    ||V||^2 = ||W0||^2 + 2 s rowsum(B * (W0 A^T)) + s^2 rowsum((B (A A^T)) * B)

||W0||^2 is taken once. W0 A^T is what the base layer itself makes of the rows of A, its bias left out, so that
no format of a quantised weight need be known. The norm is computed in fp32 by the first forward pass after
`Magnitude.refresh`, which the trainer calls after every optimizer step; passes of the same step, the recomputed
ones of gradient checkpointing among them, share it.

The output is composed of y0 = W0 x + b and h = A x as

    y = c * y0 + (s c B) h + (1 - c) b

which is y0 to the last bit while B = 0: the magnitudes start as the very norms, so that c is exactly 1. The
backward pass finds the gradient of m from y0 without forming V x, since rowsum(B * (g^T h)) is a by-product of
the gradient of B. It needs y0 kept, which plain LoRA does not: without gradient checkpointing the activations of
a transformer take about a third more than with LoRA (with PEFT's DoRA, two thirds more).

Where ||V|| is much smaller than ||W0||, that is, where s B A cancels W0, the expansion loses digits; PEFT's
own norm does not. A row of zeros has the norm NORM_FLOOR, here and in the exported adapter.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Conv2d, Linear, LoraVariant
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...ccm.adapter.base_weight import base_weight, without_bias
from ...ccm.adapter.dora import NORM_FLOOR
from ...ccm.errors import AdapterError


class Compose(torch.autograd.Function):
    """y = c * y0 + (s c B) h + (1 - c) b with c = m / norm, on tokens of several samples.

    y0 [N,L,out], h [N,L,r], B [out,r], m and norm [out], b [out] or None; y [N,L,out] in the wider dtype of y0
    and h. Strategy: as few passes as possible over tensors of the size of y, and one spare buffer of that size
    in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, y0: Tensor, h: Tensor, up: Tensor, m: Tensor, norm: Tensor, b: Tensor | None, s: float
    ):
        c = m / norm
        y = torch.empty_like(y0, dtype=torch.promote_types(y0.dtype, h.dtype))
        h = h.to(y.dtype)
        if b is None:
            torch.mul(y0, c, out=y)
        else:
            torch.addcmul((1 - c) * b, y0, c, out=y)
        y.baddbmm_(h, _scaled(up, s * c, like=h).transpose(1, 2))
        ctx.save_for_backward(y0, h, up, m, norm, b)
        ctx.s = s
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        y0, h, up, m, norm, b = ctx.saved_tensors
        c, s = m / norm, ctx.s
        gh = torch.bmm(g.transpose(1, 2), h).sum(0).float()  # [out,r]
        dh = torch.bmm(g, _scaled(up, s * c, like=h)) if ctx.needs_input_grad[1] else None
        buffer = torch.empty_like(y0)
        dc = torch.mul(g, y0, out=buffer).sum((0, 1), dtype=torch.float32).add_((up * gh).sum(1), alpha=s)
        if b is not None:
            dc -= b * g.sum((0, 1), dtype=torch.float32)
        dy0 = torch.mul(g, c, out=buffer) if ctx.needs_input_grad[0] else None
        return dy0, dh, (s * c)[:, None] * gh, dc / norm, None, None, None


def _scaled(up: Tensor, scale: Tensor, like: Tensor) -> Tensor:
    """diag(scale) B in the dtype of `like`, once for each of its samples: [N,out,r]."""
    return (scale[:, None] * up).to(like.dtype).expand(len(like), -1, -1)


class Magnitude(nn.Module):
    """m under PEFT's name and in PEFT's shape, ||W0||^2 [out], and ||V|| [out] once it is known."""

    weight: nn.Parameter
    squares: Tensor
    norm: Tensor | None

    def __init__(self, squares: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("squares", squares, persistent=False)
        self.register_buffer("norm", None, persistent=False)
        self.weight = nn.Parameter(squares.new_empty(shape))

    def refresh(self) -> None:
        """Forget ||V||: A or B has changed."""
        self.norm = None


class FactoredDora(LoraVariant):
    """Takes the place of PEFT's DoRA in the layers below."""

    @staticmethod
    def init(module: Any, adapter_name: str, **_: Any) -> None:
        magnitude = Magnitude(module.base_squares(), module.magnitude_shape)
        module.lora_magnitude_vector[adapter_name] = magnitude
        with torch.no_grad():
            magnitude.weight.copy_(row_norm(module, adapter_name).view(module.magnitude_shape))

    @staticmethod
    def forward(module: Any, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        magnitude: Magnitude = module.lora_magnitude_vector[active_adapter]
        if magnitude.norm is None:
            magnitude.norm = row_norm(module, active_adapter)
        bias = module.get_base_layer().bias
        y = Compose.apply(
            module.tokens(result),
            module.tokens(module.lora_A[active_adapter](x)),
            module.lora_B[active_adapter].weight.flatten(1),
            magnitude.weight.flatten(),
            magnitude.norm,
            None if bias is None else bias.detach().to(result.device, torch.float32),
            module.scaling[active_adapter],
        )
        return module.from_tokens(y, result)

    @staticmethod
    def merge_unsafe(module: Any, active_adapter: str, orig_weight: Tensor) -> None:
        # PEFT's default would merge nothing and say nothing.
        raise AdapterError(
            "A WDLoRA layer does not merge into its base", fix="export the adapter and load it"
        )


@torch.no_grad()
def row_norm(module: Any, adapter: str) -> Tensor:
    """Return ||W0 + s B A|| [out] in fp32, at least NORM_FLOOR."""
    down = module.lora_A[adapter].weight.flatten(1)  # [r,n]
    up = module.lora_B[adapter].weight.flatten(1)  # [out,r]
    s = module.scaling[adapter]
    with torch.autocast(down.device.type, enabled=False):
        cross = (up * module.base_product(down)).sum(1)
        square = ((up @ (down @ down.T)) * up).sum(1)
    squares = module.lora_magnitude_vector[adapter].squares + 2 * s * cross + s * s * square
    return squares.clamp_min_(0).sqrt_().clamp_min_(NORM_FLOOR)


def _rows(module: Any) -> int:
    return module.out_features


class Fp32Linear(Linear):
    """PEFT's layer, with adapters in fp32 on a base of any dtype."""

    def _move_adapter_to_device_of_base_layer(
        self, adapter_name: str, device: torch.device | None = None
    ) -> None:
        to_base_device(self, adapter_name, device)


class Fp32Conv2d(Conv2d):
    """PEFT's layer, with adapters in fp32 on a base of any dtype."""

    def _move_adapter_to_device_of_base_layer(
        self, adapter_name: str, device: torch.device | None = None
    ) -> None:
        to_base_device(self, adapter_name, device)


def to_base_device(module: Any, adapter: str, device: torch.device | None) -> None:
    """Move the factors, and leave their dtype; PEFT would round them to the dtype of the base."""
    for factors in (module.lora_A, module.lora_B):
        factors[adapter].to(device or module.get_base_layer().weight.device, torch.float32)


class FactoredLinear(Fp32Linear):
    """A linear layer, whatever the format of its weight: it is only ever called."""

    @property
    def lora_variants(self) -> dict[tuple[str, ...], type[LoraVariant] | None]:
        return {(): None, ("use_dora",): FactoredDora}

    @property
    def magnitude_shape(self) -> tuple[int, ...]:
        return (_rows(self),)

    def base_product(self, rows: Tensor) -> Tensor:
        """W0 rows^T: [k,n] -> [out,k]."""
        return without_bias(self.get_base_layer(), rows).T

    @torch.no_grad()
    def base_squares(self) -> Tensor:
        """||W0||^2 [out]."""
        return base_weight(self.get_base_layer()).float().square().sum(1)

    @staticmethod
    def tokens(x: Tensor) -> Tensor:
        """[...,k] -> [1,L,k]."""
        return x.reshape(1, -1, x.shape[-1])

    @staticmethod
    def from_tokens(y: Tensor, like: Tensor) -> Tensor:
        return y.view(like.shape)


class FactoredConv2d(Fp32Conv2d):
    """A convolution: its kernel is a matrix [out, in * kh * kw] for the norm; B is a 1 x 1 convolution."""

    @property
    def lora_variants(self) -> dict[tuple[str, ...], type[LoraVariant] | None]:
        return {(): None, ("use_dora",): FactoredDora}

    @property
    def magnitude_shape(self) -> tuple[int, ...]:
        return (1, _rows(self), 1, 1)

    def base_product(self, rows: Tensor) -> Tensor:
        """W0 rows^T: [k,n] -> [out,k]."""
        return self._matrix().to(rows.device) @ rows.T

    @torch.no_grad()
    def base_squares(self) -> Tensor:
        """||W0||^2 [out]."""
        return self._matrix().square().sum(1)

    def _matrix(self) -> Tensor:
        layer: Any = self.get_base_layer()
        return layer.weight.detach().float().flatten(1)

    @staticmethod
    def tokens(x: Tensor) -> Tensor:
        """[N,k,H,W] -> [N,H*W,k], a view."""
        return x.flatten(2).transpose(1, 2)

    @staticmethod
    def from_tokens(y: Tensor, like: Tensor) -> Tensor:
        return y.transpose(1, 2).reshape(like.shape)
