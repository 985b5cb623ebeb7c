from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.control import (
    MaskStyle,
    check_control_masks,
    check_masks_are_frames,
    check_masks_fit_latents,
    draw_masks,
)
from ccm_pack.ccm.errors import MaskError


def test_an_empty_mask_in_a_batch_is_named_by_its_number():
    masks = np.zeros((3, 8, 8), np.float32)
    masks[[0, 2], 4, 4] = 1
    with pytest.raises(MaskError, match="Mask 1 is empty"):
        check_control_masks(masks)


@pytest.mark.parametrize("count", [1, 4])
def test_one_mask_or_one_for_each_latent_fits(count):
    check_masks_fit_latents((count, 384, 384), (4, 16, 48, 48))


def test_five_dimensional_latents_are_compared_by_their_last_two_axes():
    check_masks_fit_latents((1, 384, 384), (1, 16, 1, 48, 48))


def test_three_masks_for_two_latents_are_refused():
    with pytest.raises(MaskError, match="3 masks for 2 latents"):
        check_masks_fit_latents((3, 384, 384), (2, 16, 48, 48))


def test_a_wide_mask_on_square_latents_is_refused():
    with pytest.raises(MaskError, match="aspect of 2.000"):
        check_masks_fit_latents((1, 192, 384), (1, 16, 48, 48))


def test_a_mask_of_another_size_than_the_frame_is_refused():
    check_masks_are_frames((1, 384, 256), (1, 16, 1, 48, 32), 8)
    with pytest.raises(MaskError, match="768 x 384 pixels and the frame will be 384 x 384"):
        check_masks_are_frames((1, 384, 768), (1, 16, 1, 48, 48), 8)


@pytest.fixture
def line() -> np.ndarray:
    """A mask [1,100,100]: columns 40 to 44 are nerve."""
    mask = np.zeros((1, 100, 100), np.float32)
    mask[0, :, 40:45] = 1
    return mask


def columns(picture: np.ndarray) -> list[int]:
    return np.flatnonzero(picture[0, 50, :, 0] > 0.5).tolist()


def test_every_style_is_a_picture_of_the_masks_size_in_0_to_1(line):
    for style in MaskStyle:
        picture = draw_masks(line, style)
        assert picture.shape == (1, 100, 100, 3) and picture.dtype == np.float32
        assert 0 <= picture.min() < picture.max() <= 1


def test_a_nerve_mask_is_drawn_as_it_is(line):
    assert (draw_masks(0.3 * line, MaskStyle.NERVES)[..., 0] == 0.3 * line).all()


def test_a_scribble_is_one_percent_of_the_side_wider(line):
    assert columns(draw_masks(line, MaskStyle.SCRIBBLE)) == [40, 41, 42, 43, 44]
    wide = draw_masks(np.kron(line[0], np.ones((3, 3), np.float32))[None], MaskStyle.SCRIBBLE)
    assert np.flatnonzero(wide[0, 150, :, 0]).tolist() == list(range(119, 136))


def test_canny_draws_both_flanks_of_a_nerve(line):
    assert columns(draw_masks(line, MaskStyle.CANNY)) == [40, 44]


def test_a_soft_edge_peaks_at_one_on_the_centre_line_and_falls_off(line):
    profile = draw_masks(line, MaskStyle.SOFT_EDGE)[0, 50, :, 0]
    assert profile.max() == profile[42] == 1 and 0 < profile[39] < profile[40] < profile[41] < 1


def test_a_segmentation_shows_road_on_earth(line):
    picture = draw_masks(line, MaskStyle.SEGMENTATION)[0, 50] * 255
    assert picture[42].tolist() == [140, 140, 140] and picture[0].tolist() == [120, 120, 70]


@pytest.mark.parametrize("style", [MaskStyle.SCRIBBLE, MaskStyle.CANNY, MaskStyle.SEGMENTATION])
def test_a_faint_mask_is_drawn_as_strongly_as_a_bright_one(line, style):
    assert (draw_masks(0.2 * line, style) == draw_masks(line, style)).all()
