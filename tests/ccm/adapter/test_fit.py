"""Whether an adapter belongs to a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ccm_pack.ccm.adapter import AdapterFile, AdapterLayer, Convention, read_adapter, save_adapter
from ccm_pack.ccm.adapter.fingerprint import SAMPLES, distance, fingerprint, sample
from ccm_pack.ccm.adapter.fit import check_base, check_fit, check_strength
from ccm_pack.ccm.adapter.summary import describe
from ccm_pack.ccm.errors import AdapterError, AdapterMismatchError

FLOATS = [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]


def base_of(seed: int, std: float = 0.05) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (64, 32), "b": (32, 64), "c": (8, 16, 3, 3)}
    return {name: std * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def samples_of(base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: sample(weight) for name, weight in base.items()}


def adapter_on(base: dict[str, torch.Tensor], convention: Convention, path: Path) -> AdapterFile:
    layers = {
        name: AdapterLayer(
            torch.ones(2, *w.shape[1:]), torch.ones(len(w), 2), 1.0, torch.ones(len(w)), Convention.TRUE_M
        )
        for name, w in base.items()
    }
    if convention is Convention.LORA:
        layers = {name: AdapterLayer(*layer[:3]) for name, layer in layers.items()}
    save_adapter(path, layers, base, convention=convention)
    return read_adapter(path)


def test_a_sample_has_the_same_places_whatever_the_shape():
    weight = torch.arange(24.0)
    assert torch.equal(sample(weight), sample(weight.reshape(2, 3, 4)))
    assert sample(weight).shape == (SAMPLES,)


def test_a_sample_does_not_stay_in_one_row_or_column():
    rows, columns = torch.meshgrid(torch.arange(512.0), torch.arange(512.0), indexing="ij")
    assert sample(rows).unique().numel() > 8 and sample(columns).unique().numel() > 8


def test_the_fingerprint_is_deterministic_and_independent_of_the_order():
    samples = samples_of(base_of(0))
    assert fingerprint(samples) == fingerprint(dict(reversed(samples.items())))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_cast_of_the_same_base_is_near(dtype: torch.dtype):
    base = base_of(0)
    cast = {name: weight.to(dtype) for name, weight in base.items()}
    assert distance(fingerprint(samples_of(base)), samples_of(cast)) < 0.1


def test_other_weights_of_the_same_shapes_are_far():
    assert distance(fingerprint(samples_of(base_of(0))), samples_of(base_of(1))) > 1


def test_the_same_weights_at_twice_the_size_are_far():
    assert distance(fingerprint(samples_of(base_of(0, 0.05))), samples_of(base_of(0, 0.1))) == pytest.approx(
        1
    )


def test_a_base_of_zeros_matches_itself_only():
    zeros = {name: torch.zeros_like(weight) for name, weight in base_of(0).items()}
    assert distance(fingerprint(samples_of(zeros)), samples_of(zeros)) == 0
    assert distance(fingerprint(samples_of(zeros)), samples_of(base_of(0))) > 1


@pytest.mark.parametrize("recorded", ["", "no base64!", "AAAA"])
def test_a_damaged_fingerprint_matches_nothing(recorded: str):
    assert distance(recorded, samples_of(base_of(0))) == float("inf")


@pytest.mark.parametrize("convention", [Convention.LORA, Convention.TRUE_M, Convention.CORRECTED])
@pytest.mark.parametrize("dtype", FLOATS)
def test_casts_of_the_base_are_accepted(convention: Convention, dtype: torch.dtype, tmp_path: Path):
    adapter = adapter_on(base_of(0), convention, tmp_path / "a.safetensors")
    sentence = check_base(adapter, samples_of({n: w.to(dtype) for n, w in base_of(0).items()}))
    assert sentence.startswith("base: the one it was trained on")


def test_a_corrected_file_is_refused_on_another_base(tmp_path: Path):
    adapter = adapter_on(base_of(0), Convention.CORRECTED, tmp_path / "a.safetensors")
    with pytest.raises(AdapterMismatchError, match="trained on another base"):
        check_base(adapter, samples_of(base_of(1)))


@pytest.mark.parametrize("convention", [Convention.TRUE_M, Convention.LORA])
def test_the_other_files_only_report_another_base(convention: Convention, tmp_path: Path):
    adapter = adapter_on(base_of(0), convention, tmp_path / "a.safetensors")
    assert "NOT the one it was trained on" in check_base(adapter, samples_of(base_of(1)))


def test_a_file_that_does_not_name_its_base_is_accepted():
    adapter = AdapterFile({}, Convention.TRUE_M, {})
    assert check_base(adapter, {}) == "base: the file does not say which one it was trained on"


def test_layers_that_the_model_lacks_are_named(tmp_path: Path):
    layers = adapter_on(base_of(0), Convention.TRUE_M, tmp_path / "a.safetensors").layers
    with pytest.raises(AdapterMismatchError, match=r"2 of 3 adapter layers are not in this model \(b, c\)"):
        check_fit(layers, {"a": (64, 32), "z": (1, 1)})


def test_only_three_of_many_names_are_given():
    layer = AdapterLayer(torch.ones(1, 2), torch.ones(2, 1), 1.0)
    with pytest.raises(AdapterMismatchError, match=r"\(0, 1, 2 and 5 more\)"):
        check_fit({str(i): layer for i in range(8)}, {})


@pytest.mark.parametrize("shape", [(64, 33), (65, 32), (32, 64), (64,)])
def test_layers_of_another_shape_are_named(shape: tuple[int, ...], tmp_path: Path):
    layers = adapter_on(base_of(0), Convention.TRUE_M, tmp_path / "a.safetensors").layers
    with pytest.raises(AdapterMismatchError, match="1 of 3 adapter layers are not of the model's size"):
        check_fit(layers, {"a": shape, "b": (32, 64), "c": (8, 16, 3, 3)})


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_that_is_no_number_is_refused(strength: float):
    with pytest.raises(AdapterError, match="strength"):
        check_strength(strength)


def test_the_summary_names_kind_rank_base_and_warns_of_clinical_use(tmp_path: Path):
    adapter = adapter_on(base_of(0), Convention.CORRECTED, tmp_path / "a.safetensors")
    text = describe(adapter, "mine", "base: the one")
    assert text.splitlines()[0] == "adapter: mine"
    assert "WDLoRA (DoRA) with corrected row scales" in text
    assert "rank: 2 on 3 layers" in text and "base: the one" in text
    assert "training: not recorded" in text
    assert "Not for clinical use" in text
