"""Hand-made files of each tool, and what is read from them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ccm_pack.ccm.adapter import Convention, save_adapter
from ccm_pack.ccm.adapter.dialects import ForeignAdapter, Kind, read_foreign
from ccm_pack.ccm.errors import AdapterError
from torch import Tensor

Write = Callable[..., Path]
A, B = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), torch.arange(8.0).reshape(4, 2)  # rank 2, 3 -> 4
M = torch.tensor([1.0, 2.0, 3.0, 4.0])


def kohya(**changes: Tensor | None) -> dict[str, Tensor]:
    parts = {"lora_down.weight": A, "lora_up.weight": B, "alpha": torch.tensor(1.0), **changes}
    return {f"lora_unet_x.{key}": value for key, value in parts.items() if value is not None}


def only(adapter: ForeignAdapter):
    assert not adapter.problems, adapter.problems
    (layer,) = adapter.layers.values()
    assert torch.equal(layer.down, A) and torch.equal(layer.up, B)
    return layer


def test_a_lycoris_file_on_the_output_axis_holds_true_magnitudes(write: Write):
    adapter = read_foreign(write(kohya(dora_scale=M.reshape(4, 1))))
    layer = only(adapter)
    assert adapter.kind is Kind.KOHYA and layer.convention is Convention.TRUE_M
    assert layer.scale == 0.5 and torch.equal(layer.row_scale, M)
    assert adapter.stock["lora_unet_x"].convention is Convention.CORRECTED


def test_a_lycoris_file_on_the_input_axis_is_recognised_by_its_shape(write: Write):
    adapter = read_foreign(write(kohya(dora_scale=M[None, :3])))
    assert only(adapter).convention is adapter.convention is Convention.INPUT_AXIS
    assert adapter.stock["lora_unet_x"] == adapter.layers["lora_unet_x"]


def test_a_layer_with_one_output_is_on_the_output_axis_as_the_host_has_it(write: Write):
    adapter = read_foreign(write(kohya(**{"lora_up.weight": B[:1], "dora_scale": torch.ones(1, 1)})))
    assert adapter.convention is Convention.TRUE_M


def test_a_flat_dora_scale_is_read_by_row_and_lost_on_the_stock_loader(write: Write):
    adapter = read_foreign(write(kohya(dora_scale=M)))
    assert torch.equal(only(adapter).row_scale, M)
    assert adapter.stock["lora_unet_x"] is None and "one axis" in adapter.notes[0]


def test_a_plain_lora_has_no_convention(write: Write):
    assert read_foreign(write(kohya())).convention is Convention.LORA


def peft_files(folder: Path, write: Write, config: dict, magnitude: Tensor = M) -> Path:
    tensors = {"lora_A.weight": A, "lora_B.weight": B, "lora_magnitude_vector": magnitude}
    write({f"base_model.model.blocks.x.{k}": v for k, v in tensors.items()}, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 6}, 3.0),
        ({"lora_alpha": 6, "use_rslora": True}, 6 / math.sqrt(2)),
        ({"lora_alpha": 6, "alpha_pattern": {"x": 4}}, 2.0),
        ({"lora_alpha": 6, "alpha_pattern": {"^x": 4, "y": 2}}, 3.0),
        ({"lora_alpha": 6, "alpha_pattern": {r"^blocks\.x": 4}}, 2.0),
    ],
)
def test_the_scale_of_a_peft_file_comes_from_its_configuration(
    tmp_path: Path, write: Write, config: dict, scale: float
):
    adapter = read_foreign(peft_files(tmp_path, write, config))
    assert adapter.kind is Kind.PEFT and only(adapter).scale == scale
    assert only(adapter).convention is Convention.TRUE_M
    assert adapter.stock["base_model.model.blocks.x"].row_scale is None


@pytest.mark.parametrize("name", ["", "adapter_model.safetensors", "adapter_config.json"])
def test_a_peft_adapter_is_named_by_its_folder_or_a_file_in_it(tmp_path: Path, write: Write, name: str):
    assert read_foreign(peft_files(tmp_path, write, {"lora_alpha": 2}) / name).kind is Kind.PEFT


def test_a_convolution_of_peft_has_its_magnitudes_on_the_second_axis(tmp_path: Path, write: Write):
    adapter = read_foreign(peft_files(tmp_path, write, {"lora_alpha": 2}, M.reshape(1, 4, 1, 1)))
    assert torch.equal(only(adapter).row_scale, M)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "no adapter_config.json"),
        ({"lora_alpha": 1, "fan_in_fan_out": True}, "transposed weights"),
        ({"lora_alpha": 1, "modules_to_save": ["head"]}, "fully trained modules"),
        ({"peft_type": "LOHA"}, "describes LOHA"),
        ([1], "holds no JSON object"),
    ],
)
def test_a_peft_configuration_that_cannot_be_honoured_is_refused(
    tmp_path: Path, write: Write, config: dict | None, message: str
):
    peft_files(tmp_path, write, config or {})
    if config is None:
        (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match=message):
        read_foreign(tmp_path / "adapter_model.safetensors")


def diffusers(prefix: str = "transformer.x") -> dict[str, Tensor]:
    parts = {"lora_A.weight": A, "lora_B.weight": B, "lora_magnitude_vector": M}
    return {f"{prefix}.{key}": value for key, value in parts.items()}


def test_a_diffusers_file_without_metadata_has_scale_one(write: Write):
    adapter = read_foreign(write(diffusers()))
    assert adapter.kind is Kind.DIFFUSERS and only(adapter).scale == 1.0
    assert "says nothing of alpha" in adapter.notes[0]


def test_the_scale_of_a_diffusers_file_comes_from_its_metadata(write: Write):
    packed = json.dumps({"transformer.lora_alpha": 6, "transformer.alpha_pattern": {}})
    adapter = read_foreign(write(diffusers(), lora_adapter_metadata=packed))
    assert only(adapter).scale == 3.0 and adapter.notes == []
    assert adapter.stock["transformer.x"].scale == 1.0


@pytest.mark.parametrize("middle", [".lora.down.weight", "_lora.down.weight"])
def test_older_diffusers_names_are_read(write: Write, middle: str):
    tensors = {f"unet.a.to_q{middle}": A, f"unet.a.to_q{middle.replace('down', 'up')}": B}
    adapter = read_foreign(write(tensors))
    assert list(adapter.layers) == ["unet.a.to_q"] and only(adapter).scale == 1.0


def test_an_ai_toolkit_file_has_flat_magnitudes_and_scale_one(write: Write):
    tensors = {
        "transformer.x.lora_A.weight": A,
        "transformer.x.lora_B.weight": B,
        "transformer.x.magnitude": M,
    }
    adapter = read_foreign(write(tensors))
    assert adapter.kind is Kind.AI_TOOLKIT and only(adapter).scale == 1.0
    assert torch.equal(only(adapter).row_scale, M) and adapter.notes == []


def test_a_unet_of_ai_toolkit_is_noted_to_have_no_alpha(write: Write):
    tensors = {**kohya(alpha=None), "lora_unet_x.magnitude": M}
    assert "writes no alpha" in read_foreign(write(tensors)).notes[0]


def test_half_precision_magnitudes_are_noted(write: Write):
    assert "float16" in read_foreign(write(kohya(dora_scale=M[:, None].half()))).notes[0]


def test_own_files_give_back_their_true_magnitudes(tmp_path: Path, layers: dict, weights: dict):
    save_adapter(tmp_path / "own.safetensors", layers, weights)
    adapter = read_foreign(tmp_path / "own.safetensors")
    assert adapter.kind is Kind.CCM and adapter.convention is Convention.TRUE_M and not adapter.problems
    assert torch.equal(adapter.layers["diffusion_model.final"].row_scale, layers["final"].row_scale)
    assert adapter.stock["diffusion_model.final"].convention is Convention.CORRECTED


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (kohya(**{"lora_up.weight": None}), "lora_unet_x lacks its up factor"),
        (kohya(**{"lora_up.weight": B.T}), "lora_unet_x holds shapes"),
        (kohya(**{"lora_up.weight": B * float("nan")}), "lora_unet_x holds NaN"),
        (kohya(alpha=torch.tensor(float("inf"))), "lora_unet_x holds NaN"),
        (kohya(dora_scale=torch.ones(5, 1)), r"magnitude \[5, 1\] that fits neither its 4 outputs"),
        (kohya(dora_scale=M[:, None], magnitude=M), "has two magnitudes"),
        (kohya(**{"lora_mid.weight": A}), "1 tensors are a Tucker factor"),
        ({"lora_unet_x.hada_w1_a": A}, "1 tensors are LoHa"),
        ({**kohya(), "lora_unet_x.unheard_of": A}, "1 tensors belong to no known format"),
        ({}, "holds no LoRA layer"),
    ],
)
def test_a_defect_is_a_problem_that_names_the_layer(write: Write, tensors: dict, problem: str):
    assert re.search(problem, "\n".join(read_foreign(write(tensors)).problems))


def test_text_encoder_layers_are_counted_and_kept_apart(write: Write):
    adapter = read_foreign(
        write({**kohya(), "lora_te1_y.lora_down.weight": A, "lora_te1_y.lora_up.weight": B})
    )
    assert adapter.text_encoder_layers == 1 and list(adapter.layers) == ["lora_unet_x"]
