from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import PixelSizeError, WeightsError
from ccm_pack.ccm.morphometry.adherence import centre_line_f1
from ccm_pack.ccm.phantom.mask import draw_mask
from ccm_pack.ccm.phantom.render import render, sample_appearance
from ccm_pack.ccm.phantom.topology import grow_tree, sample_targets
from ccm_pack.ccm.segmentation import (
    SegmentationNet,
    even_tone,
    load_segmenter,
    normalise,
    segment_nerves,
)


def phantom(cohort: Cohort, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((77, seed))
    tree = grow_tree(sample_targets(cohort, rng), rng)
    return render(tree, sample_appearance(cohort, rng), rng), draw_mask(tree, width_px=3) > 0


def test_the_network_has_at_most_two_million_parameters():
    assert sum(p.numel() for p in SegmentationNet().parameters()) <= 2_000_000


def test_normalisation_removes_gain_and_offset():
    frame = torch.rand(1, 96, 96, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(normalise(frame), normalise(0.5 * frame + 0.2), atol=0.01)


def test_the_tones_are_normal_quantiles_of_the_middle_ranks():
    tones = even_tone(np.array([[0.1, 0.4], [0.4, 0.9]]))
    # shares below and half of those alike: 1/8, (1 + 1)/4 and 7/8
    assert tones[0, 0] == pytest.approx(-1.15035, abs=1e-5)
    assert tones[0, 1] == tones[1, 0] == 0
    assert tones[1, 1] == pytest.approx(1.15035, abs=1e-5)


@pytest.mark.parametrize(
    "change", [lambda x: 0.3 * x, lambda x: 0.5 * x + 0.3, lambda x: x**0.4, lambda x: x**2.2]
)
def test_whatever_keeps_the_order_of_the_grey_levels_changes_no_tone(change):
    frame = np.random.default_rng(0).integers(8, 256, (96, 80)) / 255  # 16 bits merge darker ones under x^2.2
    assert np.array_equal(even_tone(change(frame)), even_tone(frame))


def test_a_missing_weight_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="nowhere.safetensors"):
        load_segmenter(tmp_path / "nowhere.safetensors")


def test_a_truncated_weight_file_is_refused(tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(WeightsError, match="cut.safetensors"):
        load_segmenter(path)


def test_a_pixel_size_of_zero_is_refused():
    with pytest.raises(PixelSizeError):
        segment_nerves(np.zeros((1, 64, 64), np.float32), 0.0)


@pytest.mark.parametrize("shape", [(1, 384, 384), (2, 97, 130), (1, 16, 16), (1, 1, 1)])
def test_any_frame_size_gives_a_mask_of_that_size(shape):
    segmentation = segment_nerves(np.full(shape, 0.3, np.float32))
    assert segmentation.mask.shape == segmentation.probability.shape == shape
    assert np.isfinite(segmentation.probability).all()


def test_phantom_nerves_are_traced_in_every_cohort():
    scores = []
    for cohort in Cohort:
        for seed in range(4):
            frame, mask = phantom(cohort, seed)
            scores.append(centre_line_f1(mask, segment_nerves(frame[None]).mask[0]).f1)
    assert np.mean(scores) >= 0.9


def test_half_the_pixel_size_with_the_frame_enlarged_traces_the_same_nerves():

    frame, mask = phantom(Cohort.CONTROL, 9)
    large = cv2.resize(frame, (768, 768), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    traced = segment_nerves(large[None], 400 / 768).mask[0]
    small = cv2.resize(traced.astype(np.uint8), (384, 384), interpolation=cv2.INTER_AREA) > 0
    assert centre_line_f1(mask, small).f1 >= 0.85


def test_a_frame_that_would_be_resampled_to_more_than_any_mosaic_is_refused():
    with pytest.raises(PixelSizeError, match=r"spans 12\.8 mm; expected at most 4\.3 mm"):
        segment_nerves(np.zeros((1, 128, 128), np.float32), 100.0)


def mosaic(height: int, width: int) -> np.ndarray:
    """Phantoms side by side, [H,W]."""
    frames = [phantom(cohort, 3)[0] for cohort in Cohort]
    rows = [np.concatenate(frames[k:] + frames[:k], axis=1) for k in range(len(frames))]
    tile = np.concatenate(rows, axis=0)
    repeats = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return np.ascontiguousarray(np.tile(tile, repeats)[:height, :width], np.float32)


@torch.inference_mode()
def test_a_mosaic_is_segmented_in_tiles_as_it_would_be_whole():
    soft = torch.from_numpy(mosaic(1152, 1088))[None]
    normal, segmenter = normalise(soft), load_segmenter()
    whole = segmenter.net(normal)[0]
    assert torch.allclose(segmenter.logits(normal), whole, atol=1e-3)


PEAK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import conftest
import numpy as np
from ccm_pack.ccm.morphometry import measure_nerves
from ccm_pack.ccm.segmentation import segment_nerves
grey = np.load(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = measure_nerves(segment_nerves(grey[None]).mask[0])
print(found.cnfl_mm_per_mm2, before / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.soak
def test_a_mosaic_of_6000_x_6000_pixels_needs_less_than_4_gb(tmp_path):
    np.save(tmp_path / "mosaic.npy", mosaic(6000, 6000))
    command = [sys.executable, "-c", PEAK, str(Path(__file__).parents[1]), str(tmp_path / "mosaic.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cnfl, before, peak = map(float, done.stdout.split()[-3:])
    print(f"CNFL {cnfl:.2f} mm/mm2, {before:.1f} GB before, {peak:.1f} GB at the most")
    assert 5.0 < cnfl < 40.0 and peak - before < 4.0
