from __future__ import annotations

import numpy as np
import pytest
import torch
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import PixelSizeError, WeightsError
from ccm_pack.ccm.morphometry.adherence import centre_line_f1
from ccm_pack.ccm.phantom.mask import draw_mask
from ccm_pack.ccm.phantom.render import render, sample_appearance
from ccm_pack.ccm.phantom.topology import grow_tree, sample_targets
from ccm_pack.ccm.segmentation import SegmentationNet, load_segmenter, normalise, segment_nerves


def phantom(cohort: Cohort, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((77, seed))
    tree = grow_tree(sample_targets(cohort, rng), rng)
    return render(tree, sample_appearance(cohort, rng), rng), draw_mask(tree, width_px=3) > 0


def test_the_network_has_at_most_two_million_parameters():
    assert sum(p.numel() for p in SegmentationNet().parameters()) <= 2_000_000


def test_normalisation_removes_gain_and_offset():
    frame = torch.rand(1, 96, 96, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(normalise(frame), normalise(0.5 * frame + 0.2), atol=0.01)


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
    import cv2

    frame, mask = phantom(Cohort.CONTROL, 9)
    large = cv2.resize(frame, (768, 768), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    traced = segment_nerves(large[None], 400 / 768).mask[0]
    small = cv2.resize(traced.astype(np.uint8), (384, 384), interpolation=cv2.INTER_AREA) > 0
    assert centre_line_f1(mask, small).f1 >= 0.85


def test_a_frame_that_would_be_resampled_to_more_than_any_mosaic_is_refused():
    with pytest.raises(PixelSizeError, match=r"spans 12\.8 mm; expected at most 4\.3 mm"):
        segment_nerves(np.zeros((1, 128, 128), np.float32), 100.0)
