"""DoRA by hand: W0 = [[3, 4], [0, 5]], A = [[1, 0]], B = [[3], [0]], s = 1, so V = [[6, 4], [0, 5]]."""

from __future__ import annotations

import math

import pytest
import torch
from ccm_pack.ccm.adapter.dora import (
    HOST_EPS,
    AdapterLayer,
    Convention,
    direction,
    in_convention,
    merged,
    row_norm,
    update,
)

W0 = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
A = torch.tensor([[1.0, 0.0]])
B = torch.tensor([[3.0], [0.0]])
M = torch.tensor([2.0, 10.0])
LAYER = AdapterLayer(A, B, 1.0, M, Convention.TRUE_M)


def test_row_norm_is_the_euclidean_norm_of_each_output_row():
    assert row_norm(W0).tolist() == [5.0, 5.0]


def test_direction_adds_the_scaled_low_rank_part():
    assert direction(W0, LAYER._replace(scale=0.5)).tolist() == [[4.5, 4.0], [0.0, 5.0]]


def test_plain_lora_merges_to_the_direction():
    assert merged(W0, AdapterLayer(A, B, 1.0)).tolist() == [[6.0, 4.0], [0.0, 5.0]]


def test_dora_gives_each_row_its_magnitude_and_the_direction_of_v():
    root = math.sqrt(52)
    expected = torch.tensor([[12 / root, 8 / root], [0.0, 10.0]])
    torch.testing.assert_close(merged(W0, LAYER), expected)


def test_with_the_row_norms_as_magnitude_and_b_zero_the_weight_stays():
    layer = AdapterLayer(A, torch.zeros(2, 1), 1.0, row_norm(W0), Convention.TRUE_M)
    torch.testing.assert_close(merged(W0, layer), W0, rtol=1e-7, atol=0)


def test_update_is_the_difference_to_the_base():
    assert update(W0, AdapterLayer(A, B, 1.0)).tolist() == [[3.0, 0.0], [0.0, 0.0]]


def test_merging_leaves_base_and_layer_untouched():
    base, layer = W0.clone(), LAYER._replace(row_scale=M.clone())
    update(base, layer)
    assert torch.equal(base, W0) and torch.equal(layer.row_scale, M)


def test_corrected_scale_is_m_times_base_norm_over_v_norm():
    layer = in_convention(W0, LAYER, Convention.CORRECTED)
    expected = torch.tensor([2 * 5 / math.sqrt(52), 10 * 5 / 5])
    torch.testing.assert_close(layer.row_scale, expected * (1 + HOST_EPS / 5))


def test_both_conventions_merge_to_the_same_weight():
    torch.manual_seed(0)
    base = torch.randn(7, 11)
    layer = AdapterLayer(torch.randn(3, 11), torch.randn(7, 3), 0.3, 1 + torch.rand(7), Convention.TRUE_M)
    corrected = in_convention(base, layer, Convention.CORRECTED)
    torch.testing.assert_close(merged(base, corrected), merged(base, layer), rtol=1e-5, atol=1e-6)


def test_the_conventions_convert_into_each_other_and_back():
    there = in_convention(W0, LAYER, Convention.CORRECTED)
    back = in_convention(W0, there, Convention.TRUE_M)
    torch.testing.assert_close(back.row_scale, M)
    assert back.convention is Convention.TRUE_M


def test_a_plain_lora_layer_has_no_other_convention():
    layer = AdapterLayer(A, B, 1.0)
    assert in_convention(W0, layer, Convention.CORRECTED) is layer


def test_an_all_zero_row_stays_zero_where_the_formula_would_be_zero_over_zero():
    base = torch.tensor([[0.0, 0.0], [0.0, 5.0]])
    layer = AdapterLayer(A, torch.zeros(2, 1), 1.0, torch.tensor([0.0, 10.0]), Convention.TRUE_M)
    assert merged(base, layer).tolist() == [[0.0, 0.0], [0.0, 10.0]]


@pytest.mark.parametrize("magnitude", [0.0, 2.0])
def test_a_zero_row_of_the_base_converts_to_the_corrected_scale_and_back(magnitude: float):
    base = torch.tensor([[0.0, 0.0], [0.0, 5.0]])
    layer = LAYER._replace(row_scale=torch.tensor([magnitude, 10.0]))
    corrected = in_convention(base, layer, Convention.CORRECTED)
    torch.testing.assert_close(merged(base, corrected), torch.tensor([[magnitude, 0.0], [0.0, 10.0]]))
    torch.testing.assert_close(in_convention(base, corrected, Convention.TRUE_M).row_scale, layer.row_scale)


def test_a_convolution_is_its_kernel_flattened_per_output_row():
    torch.manual_seed(0)
    base, down, up = torch.randn(4, 3, 2, 2), torch.randn(2, 3, 2, 2), torch.randn(4, 2, 1, 1)
    magnitude = torch.rand(4) + 1
    conv = merged(base, AdapterLayer(down, up, 0.5, magnitude, Convention.TRUE_M))
    flat = AdapterLayer(down.flatten(1), up.flatten(1), 0.5, magnitude, Convention.TRUE_M)
    assert conv.shape == base.shape
    torch.testing.assert_close(conv.flatten(1), merged(base.flatten(1), flat))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_base_of_low_precision_is_merged_in_fp32(dtype: torch.dtype):
    base = W0.to(dtype)  # 3, 4, 5 are exact in all of these
    assert merged(base, LAYER).dtype is torch.float32
    assert torch.equal(merged(base, LAYER), merged(W0, LAYER))
