"""Every format to every other and back: factors to the bit, magnitudes to 1e-6."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention, read_adapter, save_adapter
from ccm_pack.ccm.adapter.convert import Target, convert
from ccm_pack.ccm.adapter.dialects import ForeignAdapter, Kind, read_foreign
from ccm_pack.ccm.adapter.inspection import inspect
from ccm_pack.ccm.adapter.placing import BaseModel, onto_host
from ccm_pack.ccm.adapter.verify import Finding, verify
from ccm_pack.ccm.errors import AdapterError, AdapterMismatchError
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from .conftest import dora

Layers = dict[str, AdapterLayer]
KINDS = {
    Target.CCM: Kind.CCM,
    Target.TRUE_M: Kind.CCM,
    Target.PEFT: Kind.PEFT,
    Target.KOHYA: Kind.KOHYA,
    Target.DIFFUSERS: Kind.DIFFUSERS,
    Target.AI_TOOLKIT: Kind.AI_TOOLKIT,
}


@pytest.fixture
def own(tmp_path: Path, layers: Layers, weights: dict[str, Tensor]) -> ForeignAdapter:
    save_adapter(tmp_path / "own.safetensors", layers, weights, training={"seed": 3})
    return read_foreign(tmp_path / "own.safetensors")


def assert_same(got: Layers, expected: Layers, scale: float | None = None) -> None:
    assert got.keys() == expected.keys()
    for name, layer in expected.items():
        factor = 1.0 if scale is None else layer.scale / scale
        assert torch.equal(got[name].down, layer.down)
        assert torch.equal(got[name].up, layer.up * factor) and got[name].scale * factor == layer.scale
        torch.testing.assert_close(got[name].row_scale, layer.row_scale, rtol=1e-6, atol=0)


@pytest.mark.parametrize("middle", [Target.CCM, Target.TRUE_M, Target.PEFT, Target.KOHYA])
def test_formats_that_keep_whole_modules_give_everything_back(
    tmp_path: Path, own: ForeignAdapter, base: BaseModel, layers: Layers, middle: Target
):
    convert(own, base, middle, tmp_path / "middle")
    foreign = read_foreign(tmp_path / "middle")
    assert foreign.kind is KINDS[middle] and not foreign.problems
    convert(foreign, base, Target.CCM, tmp_path / "back.safetensors")
    assert_same(read_adapter(tmp_path / "back.safetensors").layers, layers)


def split_layers() -> Layers:
    qkv = {f"transformer.layers.0.to_{c}": dora(2, (4,), 2, 50 + i) for i, c in enumerate("qkv")}
    rest = {"transformer.norm_out": dora(4, (3,), 3, 60), "transformer.conv": dora(2, (3, 2, 2), 1, 61)}
    return {**qkv, **rest}


@pytest.mark.parametrize(("target", "scale"), [(Target.DIFFUSERS, None), (Target.AI_TOOLKIT, 1.0)])
def test_formats_that_split_weights_give_every_part_back(
    tmp_path: Path, base: BaseModel, weights: dict[str, Tensor], target: Target, scale: float | None
):
    save_adapter(tmp_path / "own", onto_host(split_layers(), base), weights)
    convert(read_foreign(tmp_path / "own"), base, target, tmp_path / "split")
    foreign = read_foreign(tmp_path / "split")
    assert foreign.kind is KINDS[target] and not foreign.problems
    assert_same(foreign.layers, split_layers(), scale)


def test_magnitudes_on_the_input_axis_survive_kohya_and_back(
    tmp_path: Path, base: BaseModel, weights: dict[str, Tensor], layers: Layers
):
    columns = {
        name: layer._replace(row_scale=torch.rand(layer.down.shape[1]) + 1, convention=Convention.INPUT_AXIS)
        for name, layer in layers.items()
    }
    save_adapter(tmp_path / "own", columns, weights)
    convert(read_foreign(tmp_path / "own"), base, Target.KOHYA, tmp_path / "kohya")
    assert load_file(tmp_path / "kohya")["lora_unet_conv.dora_scale"].shape == (1, 3, 1, 1)
    convert(read_foreign(tmp_path / "kohya"), base, Target.CCM, tmp_path / "back")
    back = read_adapter(tmp_path / "back")
    assert back.convention is Convention.INPUT_AXIS
    assert_same(back.layers, columns)
    assert all(f.passed for f in verify(read_foreign(tmp_path / "back"), base))


@pytest.mark.parametrize("target", [Target.PEFT, Target.DIFFUSERS, Target.AI_TOOLKIT])
def test_tools_without_an_input_axis_are_refused_it(
    tmp_path: Path, base: BaseModel, target: Target, write: Callable[..., Path]
):
    layer = dora(4, (3,), 1, 7)
    tensors = {"lora_down.weight": layer.down, "lora_up.weight": layer.up, "dora_scale": torch.ones(1, 3)}
    foreign = read_foreign(write({f"lora_unet_final.{k}": v for k, v in tensors.items()}))
    with pytest.raises(AdapterError, match="input axis"):
        convert(foreign, base, target, tmp_path / "out")


def test_a_scale_that_is_no_power_of_two_is_refused_for_ai_toolkit(
    tmp_path: Path, base: BaseModel, weights: dict[str, Tensor], layers: Layers
):
    save_adapter(tmp_path / "own", {"conv": layers["conv"]._replace(scale=0.3)}, weights)
    with pytest.raises(AdapterError, match="cannot be moved into B exactly"):
        convert(read_foreign(tmp_path / "own"), base, Target.AI_TOOLKIT, tmp_path / "out")


def test_the_history_is_kept_or_names_the_source(tmp_path: Path, own: ForeignAdapter, base: BaseModel):
    convert(own, base, Target.TRUE_M, tmp_path / "true.safetensors")
    assert read_adapter(tmp_path / "true.safetensors").training == {"seed": 3}
    convert(own, base, Target.KOHYA, tmp_path / "kohya.safetensors")
    convert(read_foreign(tmp_path / "kohya.safetensors"), base, Target.CCM, tmp_path / "back.safetensors")
    history = read_adapter(tmp_path / "back.safetensors").training
    assert history["converted_from"] == "kohya" and history["source"] == "kohya.safetensors"
    assert len(history["source_sha256"]) == 64


@pytest.mark.parametrize("target", [Target.CCM, Target.TRUE_M, Target.DIFFUSERS, Target.AI_TOOLKIT])
def test_the_base_is_asked_for_where_it_is_needed(tmp_path: Path, own: ForeignAdapter, target: Target):
    with pytest.raises(AdapterError, match="--base"):
        convert(own, None, target, tmp_path / "out")


@pytest.mark.parametrize("target", [Target.PEFT, Target.KOHYA])
def test_the_base_is_not_needed_for_host_names(
    tmp_path: Path, own: ForeignAdapter, layers: Layers, base: BaseModel, target: Target
):
    convert(own, None, target, tmp_path / "out")
    assert_same(onto_host(read_foreign(tmp_path / "out").layers, base), layers)


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(
    tmp_path: Path, own: ForeignAdapter, base: BaseModel
):
    with pytest.raises(AdapterError, match="is there already"):
        convert(own, base, Target.CCM, own.path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(AdapterError):
        convert(own, None, Target.DIFFUSERS, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_file_is_not_converted(tmp_path: Path, base: BaseModel, write: Callable[..., Path]):
    foreign = read_foreign(write({"lora_unet_final.lora_down.weight": torch.ones(1, 3)}))
    with pytest.raises(AdapterError, match="has 1 problem: Layer lora_unet_final lacks its up factor"):
        convert(foreign, base, Target.CCM, tmp_path / "out")


def test_a_text_encoder_is_not_dropped_silently(tmp_path: Path, base: BaseModel, write: Callable[..., Path]):
    ones = {"lora_down.weight": torch.ones(1, 3), "lora_up.weight": torch.ones(4, 1)}
    foreign = read_foreign(
        write({f"lora_{n}.{k}": v for n in ("unet_final", "te_x") for k, v in ones.items()})
    )
    with pytest.raises(AdapterError, match="adapts 1 layers of a text encoder"):
        convert(foreign, base, Target.CCM, tmp_path / "out")


def test_a_layer_of_another_size_is_not_converted(tmp_path: Path, own: ForeignAdapter, base: BaseModel):
    other = BaseModel("other", {**base.shapes, "final": (4, 5)}, base.places, base.weight)
    with pytest.raises(AdapterMismatchError, match="not of the model's size"):
        convert(own, other, Target.CCM, tmp_path / "out")


def test_the_metadata_of_diffusers_names_every_alpha(tmp_path: Path, own: ForeignAdapter, base: BaseModel):
    convert(own, base, Target.DIFFUSERS, tmp_path / "out")
    with safe_open(tmp_path / "out", framework="pt") as file:
        assert '"transformer.use_dora": true' in file.metadata()["lora_adapter_metadata"]


def failures(findings: list[Finding]) -> list[str]:
    return [finding.text for finding in findings if finding.passed is False]


def test_a_sound_file_passes_every_check(own: ForeignAdapter, base: BaseModel):
    findings = verify(own, base)
    assert all(finding.passed for finding in findings) and len(findings) == 4
    assert "loader applies it exactly" in findings[3].text


def test_the_error_of_the_stock_loader_on_true_magnitudes_is_measured(
    tmp_path: Path, own: ForeignAdapter, base: BaseModel
):
    convert(own, base, Target.TRUE_M, tmp_path / "true")
    findings = verify(read_foreign(tmp_path / "true"), base)
    assert not failures(findings) and "% of what the adapter does" in findings[-1].text


def test_a_corrected_file_fails_on_another_base(
    own: ForeignAdapter, base: BaseModel, weights: dict[str, Tensor]
):
    other = BaseModel("other", base.shapes, base.places, lambda name: 3 * weights[name].flip(0))
    texts = failures(verify(own, other))
    assert any("trained on another base model" in text for text in texts)
    assert any("is off by" in text for text in texts)


def test_a_file_whose_layers_the_base_lacks_fails(own: ForeignAdapter, base: BaseModel):
    assert (
        "3 of 3 layers are not in other" in failures(verify(own, BaseModel("other", {}, {}, base.weight)))[0]
    )


def test_without_a_base_only_the_file_is_checked(own: ForeignAdapter):
    assert [finding.passed for finding in verify(own, None)] == [True, None]


def test_problems_are_failures(base: BaseModel, write: Callable[..., Path]):
    assert failures(verify(read_foreign(write({"x.alpha": torch.tensor(1.0)})), base))


def test_inspect_tells_kind_rank_alpha_layers_and_training(own: ForeignAdapter):
    text = "\n".join(inspect(own))
    assert "format: ComfyUI-CCM" in text and "corrected scales for the stock loader" in text
    assert "layers: 3, " in text and "rank: 2 (1 layers), 1 (1 layers), 3 (1 layers)" in text
    assert (
        'metadata ccm.training: {"seed": 3}' in text
        and "diffusion_model.conv: 3 x 2 x 2 -> 2, rank 1" in text
    )
    assert "ccm.magnitude" not in text
