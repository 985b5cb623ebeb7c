"""A base model of three weights with hand-made names, and one DoRA layer on each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention
from ccm_pack.ccm.adapter.placing import BaseModel, Place
from safetensors.torch import save_file
from torch import Tensor


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def dora(rows: int, inputs: tuple[int, ...], rank: int, seed: int, scale: float = 0.5) -> AdapterLayer:
    ones = [1] * (len(inputs) - 1)
    return AdapterLayer(
        numbers(rank, *inputs, seed=seed),
        numbers(rows, rank, *ones, seed=seed + 100),
        scale,
        1 + numbers(rows, seed=seed + 200).abs(),
        Convention.TRUE_M,
    )


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return {
        "blocks.0.qkv": numbers(6, 4, seed=1),
        "final": numbers(4, 3, seed=2),
        "conv": numbers(2, 3, 2, 2, seed=3),
    }


@pytest.fixture
def base(weights: dict[str, Tensor]) -> BaseModel:
    """q, k, v are two rows each of one weight; norm_out holds the halves of `final` the other way round."""
    places = {}
    for module in weights:
        places[f"diffusion_model.{module}"] = Place(module)
        places[f"lora_unet_{module.replace('.', '_')}"] = Place(module)
    for index, letter in enumerate("qkv"):
        rows = torch.arange(2 * index, 2 * index + 2)
        places[f"transformer.layers.0.to_{letter}"] = Place("blocks.0.qkv", rows)
        places[f"lycoris_layers_0_to_{letter}"] = Place("blocks.0.qkv", rows)
    places["transformer.norm_out"] = Place("final", torch.tensor([2, 3, 0, 1]))
    places["transformer.conv"] = Place("conv")
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    return BaseModel("base.safetensors", shapes, places, weights.__getitem__)


@pytest.fixture
def layers() -> dict[str, AdapterLayer]:
    """By host module name."""
    return {
        "blocks.0.qkv": dora(6, (4,), 2, 10),
        "final": dora(4, (3,), 3, 11),
        "conv": dora(2, (3, 2, 2), 1, 12),
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(tensors: dict[str, Tensor], name: str = "a.safetensors", **metadata: str) -> Path:
        save_file({k: v.clone().contiguous() for k, v in tensors.items()}, tmp_path / name, metadata or None)
        return tmp_path / name

    return write_file
