"""The adapter file: what is written, what comes back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterLayer, Convention, read_adapter, save_adapter
from ccm_pack.ccm.adapter.dora import merged
from ccm_pack.ccm.adapter.packing import pack
from ccm_pack.ccm.errors import AdapterError, AdapterMismatchError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

BASE = {"blocks.0.qkv": torch.tensor([[3.0, 4.0], [0.0, 5.0]]), "conv": torch.ones(2, 1, 2, 2)}
LAYERS = {
    "blocks.0.qkv": AdapterLayer(
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[3.0], [0.0]]),
        2.0,
        torch.tensor([2.0, 10.0]),
        Convention.TRUE_M,
    ),
    "conv": AdapterLayer(
        torch.ones(1, 1, 2, 2), torch.ones(2, 1, 1, 1), 0.5, torch.tensor([1.0, 2.0]), Convention.TRUE_M
    ),
}
PLAIN = {name: AdapterLayer(*layer[:3]) for name, layer in LAYERS.items()}
QKV = "diffusion_model.blocks.0.qkv"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adapter.safetensors"


def write_raw(
    path: Path, changes: dict[str, torch.Tensor | None], metadata: dict[str, str] | None = None
) -> None:
    """Write a valid file, with tensors replaced, added or (None) taken out."""
    save_adapter(path, LAYERS, BASE)
    tensors = {**load_file(path), **changes}
    save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata or {})


def test_keys_and_shapes_are_those_that_the_stock_loader_reads(path: Path):
    save_adapter(path, LAYERS, BASE)
    shapes = {key: list(tensor.shape) for key, tensor in load_file(path).items()}
    assert shapes == {
        f"{QKV}.lora_A.weight": [1, 2],
        f"{QKV}.lora_B.weight": [2, 1],
        f"{QKV}.alpha": [],
        f"{QKV}.dora_scale": [2, 1],
        "diffusion_model.conv.lora_A.weight": [1, 1, 2, 2],
        "diffusion_model.conv.lora_B.weight": [2, 1, 1, 1],
        "diffusion_model.conv.alpha": [],
        "diffusion_model.conv.dora_scale": [2, 1, 1, 1],
    }


def test_every_tensor_is_written_in_fp32(path: Path):
    halves = {
        n: layer._replace(down=layer.down.half(), up=layer.up.bfloat16()) for n, layer in LAYERS.items()
    }
    save_adapter(path, halves, BASE)
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float32}


def test_alpha_is_scale_times_rank(path: Path):
    save_adapter(path, LAYERS, BASE)
    assert load_file(path)[f"{QKV}.alpha"].item() == 2.0


def test_the_true_m_file_holds_the_magnitudes_themselves(path: Path):
    save_adapter(path, LAYERS, BASE, convention=Convention.TRUE_M)
    assert load_file(path)[f"{QKV}.dora_scale"].flatten().tolist() == [2.0, 10.0]


@pytest.mark.parametrize("convention", [Convention.TRUE_M, Convention.CORRECTED])
def test_what_is_read_merges_to_the_same_weight(path: Path, convention: Convention):
    save_adapter(path, LAYERS, BASE, convention=convention)
    adapter = read_adapter(path)
    assert adapter.convention is convention
    for name, base in BASE.items():
        torch.testing.assert_close(merged(base, adapter.layers[name]), merged(base, LAYERS[name]))


def test_a_corrected_file_gives_back_the_true_magnitudes_whatever_the_base(path: Path):
    save_adapter(path, LAYERS, BASE, convention=Convention.CORRECTED)
    layer = read_adapter(path).layers["blocks.0.qkv"]
    assert layer.convention is Convention.TRUE_M and torch.equal(layer.row_scale, torch.tensor([2.0, 10.0]))


def test_a_corrected_file_without_magnitudes_keeps_its_corrected_scale(path: Path):
    write_raw(path, {}, {"ccm.convention": "corrected"})
    layers = read_adapter(path).layers
    assert {layer.convention for layer in layers.values()} == {Convention.CORRECTED}
    torch.testing.assert_close(merged(BASE["conv"], layers["conv"]), merged(BASE["conv"], LAYERS["conv"]))


@pytest.mark.parametrize("packed", ["", "AAAA", "not base64"])
def test_damaged_magnitudes_are_refused(path: Path, packed: str):
    write_raw(path, {}, {"ccm.convention": "corrected", "ccm.magnitude": packed})
    with pytest.raises(AdapterError, match="damaged ccm.magnitude"):
        read_adapter(path)


def test_magnitudes_that_are_nan_are_refused(path: Path):
    packed = pack(torch.tensor([1.0, 2.0, 3.0, float("nan")]))
    write_raw(path, {}, {"ccm.convention": "corrected", "ccm.magnitude": packed})
    with pytest.raises(AdapterError, match="conv holds NaN"):
        read_adapter(path)


def test_a_plain_lora_with_row_scales_is_refused(path: Path):
    write_raw(path, {}, {"ccm.convention": "lora"})
    with pytest.raises(AdapterError, match="says that it is a plain LoRA"):
        read_adapter(path)


def test_a_plain_lora_has_no_row_scale_and_says_so(path: Path):
    save_adapter(path, PLAIN, BASE)
    adapter = read_adapter(path)
    assert adapter.convention is Convention.LORA
    assert all(layer.row_scale is None for layer in adapter.layers.values())


def test_metadata_says_what_the_file_is(path: Path):
    save_adapter(path, LAYERS, BASE, training={"steps": 300, "seed": 1})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["ccm.convention"] == "corrected"
    assert metadata["ccm.rank"] == "1" and metadata["ccm.layers"] == "2"
    assert "clinical" in metadata["ccm.notice"]
    assert json.loads(metadata["ccm.training"]) == {"steps": 300, "seed": 1}
    assert read_adapter(path).training == {"steps": 300, "seed": 1}


def test_a_file_without_metadata_holds_true_magnitudes(path: Path):
    write_raw(path, {})
    adapter = read_adapter(path)
    assert adapter.convention is Convention.TRUE_M
    assert adapter.base_fingerprint is None and adapter.training == {}


def test_a_missing_alpha_means_scale_one(path: Path):
    write_raw(path, {f"{QKV}.alpha": None})
    assert read_adapter(path).layers["blocks.0.qkv"].scale == 1.0


def test_writing_replaces_the_old_file_and_leaves_no_other(path: Path):
    path.write_bytes(b"old")
    save_adapter(path, LAYERS, BASE)
    assert list(path.parent.iterdir()) == [path]
    assert len(read_adapter(path).layers) == 2


def test_a_failed_write_keeps_the_old_file(path: Path):
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        save_adapter(path, LAYERS, BASE, training={"object": object()})
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_a_layer_that_does_not_fit_its_base_is_not_written(path: Path):
    with pytest.raises(AdapterMismatchError, match=r"conv \[2, 1, 3, 3\]"):
        save_adapter(path, LAYERS, {**BASE, "conv": torch.ones(2, 1, 3, 3)})
    assert not path.exists()


def test_a_missing_file_is_named(path: Path):
    with pytest.raises(AdapterError, match="no adapter file .*adapter.safetensors"):
        read_adapter(path)


def test_an_empty_file_is_refused(path: Path):
    path.touch()
    with pytest.raises(AdapterError, match="empty"):
        read_adapter(path)


@pytest.mark.parametrize("keep", [3, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, keep: float):
    save_adapter(path, LAYERS, BASE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep > 1 else keep * len(whole))])
    with pytest.raises(AdapterError, match="truncated or not a safetensors file"):
        read_adapter(path)


def test_another_kind_of_file_is_refused(path: Path):
    torch.save({"weight": torch.ones(3)}, path)
    with pytest.raises(AdapterError, match="not a safetensors file"):
        read_adapter(path)


def test_a_folder_is_no_adapter(tmp_path: Path):
    with pytest.raises(AdapterError, match="no adapter file"):
        read_adapter(tmp_path)


@pytest.mark.parametrize("part", ["lora_A.weight", "lora_B.weight", "alpha", "dora_scale"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused_by_layer_name(path: Path, part: str, value: float):
    save_adapter(path, LAYERS, BASE)
    tensor = load_file(path)[f"{QKV}.{part}"]
    tensor.view(-1)[0] = value
    write_raw(path, {f"{QKV}.{part}": tensor})
    with pytest.raises(AdapterError, match="blocks.0.qkv holds NaN or infinite"):
        read_adapter(path)


def test_nan_is_not_written(path: Path):
    layer = LAYERS["conv"]._replace(row_scale=torch.tensor([1.0, float("nan")]))
    with pytest.raises(AdapterError, match="conv holds NaN"):
        save_adapter(path, {"conv": layer}, BASE)


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.blocks.0.qkv.lora_A.weight",
        f"{QKV}.lora_magnitude_vector",
        "lora_unet_qkv.lora_up.weight",
    ],
)
def test_a_key_that_cannot_be_applied_is_named(path: Path, key: str):
    write_raw(path, {key: torch.ones(2)})
    with pytest.raises(AdapterError, match=key):
        read_adapter(path)


def test_a_file_with_no_tensors_is_refused(path: Path):
    save_file({}, path)
    with pytest.raises(AdapterError, match="0 of 0 keys"):
        read_adapter(path)


def test_half_a_layer_is_refused(path: Path):
    write_raw(path, {f"{QKV}.lora_B.weight": None})
    with pytest.raises(AdapterError, match="lacks lora_B.weight"):
        read_adapter(path)


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("lora_A.weight", [2, 2]),
        ("lora_A.weight", [2]),
        ("lora_A.weight", []),
        ("lora_A.weight", [0, 2]),
        ("lora_B.weight", [2, 3]),
        ("lora_B.weight", []),
        ("dora_scale", [3, 1]),
        ("dora_scale", [1, 2]),
        ("dora_scale", []),
    ],
)
def test_shapes_that_contradict_each_other_are_refused(path: Path, part: str, shape: list[int]):
    write_raw(path, {f"{QKV}.{part}": torch.ones(shape)})
    with pytest.raises(AdapterError, match="blocks.0.qkv"):
        read_adapter(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [({"ccm.format": "2"}, "has format 2"), ({"ccm.convention": "other"}, "has the convention 'other'")],
)
def test_a_format_or_convention_from_the_future_is_refused(path: Path, metadata: dict, message: str):
    write_raw(path, {}, metadata)
    with pytest.raises(AdapterError, match=message):
        read_adapter(path)
