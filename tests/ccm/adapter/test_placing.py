"""Names of other tools onto host modules and back."""

from __future__ import annotations

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention
from ccm_pack.ccm.adapter.dora import merged, row_norm
from ccm_pack.ccm.adapter.placing import BaseModel, find_place, onto_host, onto_names
from ccm_pack.ccm.errors import AdapterError, AdapterMismatchError
from torch import Tensor

from .conftest import dora

Layers = dict[str, AdapterLayer]


def parts(letters: str, rank: int = 2) -> Layers:
    return {f"transformer.layers.0.to_{c}": dora(2, (4,), rank + i, 30 + i) for i, c in enumerate(letters)}


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_model.final",
        "lora_unet_final",
        "base_model.model.final",
        "final",
        "unet.final",
    ],
)
def test_a_module_is_found_under_every_spelling(base: BaseModel, name: str):
    assert find_place(name, base) == ("final", None)


def test_a_peft_adapter_of_a_diffusers_model_is_found(base: BaseModel):
    place = find_place("base_model.model.layers.0.to_k", base)
    assert place is not None and place.module == "blocks.0.qkv" and place.rows.tolist() == [2, 3]


def test_a_name_that_the_base_lacks_is_told(base: BaseModel):
    with pytest.raises(
        AdapterMismatchError, match=r"1 of 1 layers are not in base.safetensors \(lora_unet_y\)"
    ):
        onto_host({"lora_unet_y": dora(2, (4,), 1, 5)}, base)


@pytest.mark.parametrize("letters", ["qkv", "vkq"])
def test_parts_of_a_fused_weight_become_one_layer_that_does_the_same(
    base: BaseModel, weights: dict[str, Tensor], letters: str
):
    split = parts(letters)
    fused = onto_host(split, base)["blocks.0.qkv"]
    weight = weights["blocks.0.qkv"]
    for index, letter in enumerate("qkv"):
        rows = slice(2 * index, 2 * index + 2)
        expected = merged(weight[rows], split[f"transformer.layers.0.to_{letter}"])
        torch.testing.assert_close(merged(weight, fused)[rows], expected, rtol=1e-6, atol=1e-6)


def test_rows_that_no_part_adapts_keep_their_weight(base: BaseModel, weights: dict[str, Tensor]):
    weight = weights["blocks.0.qkv"]
    fused = onto_host(parts("q"), base)["blocks.0.qkv"]
    assert torch.equal(fused.row_scale[2:], row_norm(weight)[2:])
    torch.testing.assert_close(merged(weight, fused)[2:], weight[2:], rtol=1e-6, atol=0)


def test_fused_and_split_again_every_factor_is_the_same_to_the_bit(base: BaseModel):
    split = parts("qkv")
    again = onto_names(onto_host(split, base), base, "transformer.")
    assert again.keys() == split.keys()
    for name, layer in split.items():
        assert torch.equal(again[name].down, layer.down) and torch.equal(again[name].up, layer.up)
        assert torch.equal(again[name].row_scale, layer.row_scale) and again[name].scale == layer.scale


def test_another_scale_of_a_part_moves_into_its_factor(base: BaseModel, weights: dict[str, Tensor]):
    split = parts("qkv")
    name = "transformer.layers.0.to_k"
    split[name] = split[name]._replace(scale=2.0)
    fused = onto_host(split, base)["blocks.0.qkv"]
    weight = weights["blocks.0.qkv"]
    torch.testing.assert_close(merged(weight, fused)[2:4], merged(weight[2:4], split[name]))


def test_a_layer_trained_on_the_whole_weight_splits_with_its_whole_input_factor(
    base: BaseModel, layers: Layers, weights: dict[str, Tensor]
):
    split = onto_names({"blocks.0.qkv": layers["blocks.0.qkv"]}, base, "transformer.")
    weight = weights["blocks.0.qkv"]
    part = split["transformer.layers.0.to_v"]
    torch.testing.assert_close(merged(weight[4:], part), merged(weight, layers["blocks.0.qkv"])[4:])


def test_reordered_rows_are_put_in_the_order_of_the_host(base: BaseModel):
    layer = dora(4, (3,), 1, 40)
    placed = onto_host({"transformer.norm_out": layer}, base)["final"]
    assert torch.equal(placed.up[[2, 3, 0, 1]], layer.up)
    assert torch.equal(placed.row_scale[[2, 3, 0, 1]], layer.row_scale)
    back = onto_names({"final": placed}, base, "transformer.")["transformer.norm_out"]
    assert torch.equal(back.up, layer.up) and torch.equal(back.row_scale, layer.row_scale)


def test_a_plain_lora_of_one_part_comes_back_as_that_part_alone(base: BaseModel):
    plain = {name: AdapterLayer(*layer[:3]) for name, layer in parts("k").items()}
    again = onto_names(onto_host(plain, base), base, "transformer.")
    assert again.keys() == plain.keys()


def test_parts_with_and_without_magnitudes_are_refused(base: BaseModel):
    split = parts("qk")
    split["transformer.layers.0.to_k"] = AdapterLayer(*split["transformer.layers.0.to_k"][:3])
    with pytest.raises(AdapterError, match="Some parts of blocks.0.qkv have magnitudes"):
        onto_host(split, base)


def test_parts_on_the_input_axis_are_refused(base: BaseModel):
    split = {
        name: layer._replace(row_scale=torch.ones(4), convention=Convention.INPUT_AXIS)
        for name, layer in parts("qkv").items()
    }
    with pytest.raises(AdapterError, match="input axis, which one layer cannot hold"):
        onto_host(split, base)


def test_one_weight_adapted_twice_is_refused(base: BaseModel):
    layer = dora(4, (3,), 1, 40)
    with pytest.raises(AdapterError, match="Several layers of the file are final"):
        onto_host({"lora_unet_final": layer, "diffusion_model.final": layer}, base)


def test_a_part_of_another_size_is_refused(base: BaseModel):
    with pytest.raises(AdapterMismatchError, match="not of the size"):
        onto_host({"transformer.layers.0.to_q": dora(3, (4,), 1, 1)}, base)


def test_a_module_without_a_name_there_is_told(base: BaseModel, layers: Layers):
    with pytest.raises(AdapterError, match=r"have no unet\.\* name"):
        onto_names(layers, base, "unet.")
