"""Files written by PEFT and by LyCORIS themselves, against what those libraries compute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention
from ccm_pack.ccm.adapter.convert import Target, convert
from ccm_pack.ccm.adapter.dialects import Kind, read_foreign
from ccm_pack.ccm.adapter.dora import merged
from ccm_pack.ccm.adapter.placing import BaseModel, Place, onto_host
from torch import Tensor, nn

PATTERNS = {"rank_pattern": {"conv": 3}, "alpha_pattern": {"conv": 5}}


class Small(nn.Module):
    """A linear layer within a block, and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Linear(6, 4))
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.block(x), self.conv(image)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return {k.removesuffix(".weight"): v for k, v in Small().state_dict().items() if k.endswith(".weight")}


@pytest.fixture
def base(weights: dict[str, Tensor]) -> BaseModel:
    places = {f"diffusion_model.{n}": Place(n) for n in weights}
    places |= {f"{p}{n.replace('.', '_')}": Place(n) for n in weights for p in ("lora_unet_", "lycoris_")}
    return BaseModel("base", {n: tuple(w.shape) for n, w in weights.items()}, places, weights.__getitem__)


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(7, 6, generator=generator), torch.randn(2, 3, 8, 8, generator=generator)


def trained(module: nn.Module) -> None:
    """Give the adapter values as after a training."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "lora_B" in name or "lora_up" in name:
            parameter.data.add_(0.2 * noise)
        elif "magnitude" in name or "dora_scale" in name:
            parameter.data.mul_(1 + 0.1 * noise)


def assert_computes(layers: dict[str, AdapterLayer], expected: tuple[Tensor, Tensor]) -> None:
    model = Small()
    for name, layer in layers.items():
        parameter = model.get_submodule(name).weight
        parameter.data.copy_(merged(parameter.data, layer))
    with torch.no_grad():
        for got, want in zip(model(*inputs()), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("use_dora", [False, True])
def test_what_peft_saves_computes_what_peft_computes_and_peft_loads_what_is_written(
    tmp_path: Path, base: BaseModel, use_dora: bool, rslora: bool
):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=2, lora_alpha=3, use_dora=use_dora, use_rslora=rslora, target_modules=["0", "conv"], **PATTERNS
    )
    model = peft.get_peft_model(Small(), config)
    trained(model)
    with torch.no_grad():
        expected = model.eval()(*inputs())
    model.save_pretrained(tmp_path / "peft")

    foreign = read_foreign(tmp_path / "peft")
    assert foreign.kind is Kind.PEFT and not foreign.problems
    assert_computes(onto_host(foreign.layers, base), expected)

    convert(foreign, base, Target.CCM, tmp_path / "own.safetensors")
    convert(read_foreign(tmp_path / "own.safetensors"), base, Target.PEFT, tmp_path / "back")
    again = peft.PeftModel.from_pretrained(Small(), str(tmp_path / "back")).eval()
    with torch.no_grad():
        for got, want in zip(again(*inputs()), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("on_output", [True, False])
def test_what_lycoris_saves_computes_what_lycoris_computes(tmp_path: Path, base: BaseModel, on_output: bool):
    lycoris = pytest.importorskip("lycoris")
    model = Small()
    lycoris.LycorisNetwork.apply_preset({"target_module": ["Linear", "Conv2d"]})
    network = lycoris.create_lycoris(
        model, 1.0, linear_dim=2, linear_alpha=1, algo="lora", dora_wd=True, wd_on_output=on_output
    )
    network.apply_to()
    trained(network)
    with torch.no_grad():
        expected = model(*inputs())
    network.save_weights(str(tmp_path / "lycoris.safetensors"), torch.float32, {})

    foreign = read_foreign(tmp_path / "lycoris.safetensors")
    assert foreign.kind is Kind.KOHYA and not foreign.problems
    assert foreign.convention is (Convention.TRUE_M if on_output else Convention.INPUT_AXIS)
    assert_computes(onto_host(foreign.layers, base), expected)
