"""A model whose weights are stored as bytes in blocks, in the way of GGUF loaders.

Blocks of 32 weights share a scale in fp16, as in the format Q8_0. The tensor keeps the shape that it stands for; a
layer makes the weight anew in every call and applies the patches that the model patcher hung onto the tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 32


class ByteTensor(Tensor):
    """Bytes [blocks, 2 + 32] that stand for a weight of another shape."""

    stands_for: torch.Size
    patches: Any = ()

    @staticmethod
    def of(weight: Tensor) -> ByteTensor:
        blocks = weight.reshape(-1, BLOCK)
        scale = (blocks.abs().amax(1, keepdim=True) / 127).half()
        codes = (blocks / scale.float()).round().clamp(-127, 127).to(torch.int8)
        stored = torch.cat([scale.view(torch.uint8), codes.view(torch.uint8)], 1)
        return ByteTensor.wrap(stored, weight.shape)

    @staticmethod
    def wrap(stored: Tensor, shape: torch.Size) -> ByteTensor:
        made = stored.as_subclass(ByteTensor)
        made.stands_for = shape
        return made

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        return getattr(self, "stands_for", super().shape)

    def to(self, *args: Any, **kwargs: Any) -> ByteTensor:
        return self

    def detach(self) -> ByteTensor:
        return self

    def clone(self, *args: Any, **kwargs: Any) -> ByteTensor:
        return self

    def weight(self, dtype: torch.dtype) -> Tensor:
        stored = self.as_subclass(Tensor)
        scale = stored[:, :2].contiguous().view(torch.float16).float()
        codes = stored[:, 2:].contiguous().view(torch.int8).float()
        return (codes * scale).reshape(self.stands_for).to(dtype)


def operations() -> Any:
    """Return the host's layers, with linear ones that hold bytes."""
    import comfy.lora
    import comfy.ops

    class Operations(comfy.ops.manual_cast):
        class Linear(comfy.ops.manual_cast.Linear):
            def _load_from_state_dict(self, state: Any, prefix: str, *_: Any) -> None:
                self.weight = nn.Parameter(state[f"{prefix}weight"], requires_grad=False)
                if f"{prefix}bias" in state:
                    self.bias = nn.Parameter(state[f"{prefix}bias"], requires_grad=False)

            def get_weight(self, tensor: Any, dtype: torch.dtype) -> Tensor:
                weight = tensor.weight(dtype)
                for patches, key in tensor.patches:
                    weight = comfy.lora.calculate_weight(patches, weight, key)
                return weight

            def forward(self, x: Tensor) -> Tensor:
                bias = None if self.bias is None else self.bias.to(x.dtype)
                return nn.functional.linear(x, self.get_weight(self.weight, x.dtype), bias)

    return Operations


def patcher(model: Any) -> Any:
    """Return a MODEL as one that hangs patches onto tensors of bytes and leaves these as they are."""
    from comfy.model_patcher import ModelPatcher

    class BytePatcher(ModelPatcher):
        def patch_weight_to_device(self, key: str, *args: Any, **kwargs: Any) -> None:
            module, _, name = key.rpartition(".")
            weight = getattr(self.model.get_submodule(module), name)
            if isinstance(weight, ByteTensor):
                weight.patches = [(self.patches[key], key)] if key in self.patches else []
            else:
                super().patch_weight_to_device(key, *args, **kwargs)

    made = BytePatcher(model.model, model.load_device, model.offload_device)
    made.patches = {key: [*value] for key, value in model.patches.items()}
    return made
