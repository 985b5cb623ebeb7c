from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import MaskError
from ccm_pack.ccm.masks import check_is_mask, prepare_masks, read_drawings
from ccm_pack.ccm.morphometry import centre_line_f1, measure_nerves
from ccm_pack.ccm.phantom.mask import draw_lines, draw_mask
from ccm_pack.ccm.phantom.topology import NerveTree, grow_tree, sample_targets

Style = Callable[[NerveTree], np.ndarray]


@pytest.fixture(scope="module")
def tree() -> NerveTree:
    rng = np.random.default_rng([1, 5])
    return grow_tree(sample_targets(Cohort.T1NODPN, rng), rng)


def plain(tree: NerveTree, width: float, size: int = 384) -> np.ndarray:
    return draw_mask(tree, (size, size), width).astype(np.float32) / 255


def soft(tree: NerveTree) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(plain(tree, 4.0), (0, 0), 2.0)


def jpeg(tree: NerveTree) -> np.ndarray:
    import cv2

    ink = np.round(255 - 255 * plain(tree, 3.0)).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", ink, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 0) / np.float32(255)


def photograph(tree: NerveTree) -> np.ndarray:
    """Ink on paper, 900 pixels wide, lit from the left, with the camera's noise."""
    y, x = np.mgrid[:900, :900] / 900
    noise = np.random.default_rng(0).normal(0, 0.02, (900, 900))
    return ((0.9 - 0.5 * x - 0.2 * y) * (1 - 0.7 * plain(tree, 7.0, 900)) + noise).clip(0, 1)


def tracing_over_a_frame(tree: NerveTree) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0.3, 0.08, (384, 384, 1)).clip(0, 1)
    line = plain(tree, 2.0)[..., None]
    frame = noise * (1 - line) + np.array([0.9, 0.1, 0.1]) * line
    return read_drawings(torch.from_numpy(frame.astype(np.float32))[None], None)[0]


def faint_branches(tree: NerveTree) -> np.ndarray:
    picture = np.zeros((384, 384), np.float32)
    for nerve in tree.nerves:
        ink = 1.0 if nerve.role == "main" else 0.5
        line = (nerve.points_um * 0.96, np.full(len(nerve.points_um), 3.0))
        picture = np.maximum(picture, ink / 255 * draw_lines([line], (384, 384)))
    return picture


STYLES: dict[str, Style] = {
    "one pixel thin": lambda tree: plain(tree, 1.0),
    "six pixels thick": lambda tree: plain(tree, 6.0),
    "true widths": lambda tree: draw_mask(tree) / np.float32(255),
    "dark on light": lambda tree: 1 - plain(tree, 4.0),
    "grey on grey": lambda tree: 0.55 - 0.15 * plain(tree, 3.0),
    "half the size": lambda tree: plain(tree, 2.0, 192),
    "huge": lambda tree: plain(tree, 6.0, 1500),
    "soft": soft,
    "compressed": jpeg,
    "photographed": photograph,
    "traced over a frame": tracing_over_a_frame,
    "faint branches": faint_branches,
}


@pytest.mark.parametrize("style", STYLES)
def test_drawings_of_any_style_give_the_same_nerves(style: str, tree: NerveTree) -> None:
    (mask,) = prepare_masks(STYLES[style](tree)[None])
    assert centre_line_f1(draw_mask(tree, width_px=3.0) >= 128, mask).f1 >= 0.99
    assert measure_nerves(mask).cnfl_mm_per_mm2 == pytest.approx(tree.truth.cnfl_mm_per_mm2, rel=0.02)


def test_a_prepared_mask_is_binary_three_pixels_wide_and_field_sized(tree: NerveTree) -> None:
    masks = prepare_masks(np.stack([plain(tree, 6.0, 500), 1 - plain(tree, 2.0, 500)]))
    assert masks.shape == (2, 384, 384) and masks.dtype == np.float32
    assert set(np.unique(masks)) == {0.0, 1.0}
    for mask in masks:
        assert mask.mean() * 400**2 / tree.truth.length_um == pytest.approx(3 * 400 / 384, rel=0.06)


def test_width_and_field_size_are_as_asked_for(tree: NerveTree) -> None:
    (mask,) = prepare_masks(plain(tree, 3.0)[None], field_px=512, width_px=6.0)
    assert mask.shape == (512, 512)
    assert mask.mean() * 400**2 / tree.truth.length_um == pytest.approx(6 * 400 / 512, rel=0.06)


def test_preparing_twice_changes_no_nerve(tree: NerveTree) -> None:
    once = prepare_masks(plain(tree, 3.0)[None])
    assert centre_line_f1(once[0], prepare_masks(once)[0], 1.5).f1 >= 0.995


def test_specks_are_left_out() -> None:
    picture = np.zeros((384, 384), np.float32)
    picture[:, 200:203] = 1
    picture[50:54, 50:54] = 1
    picture[300, 90:95] = 1
    (mask,) = prepare_masks(picture[None])
    assert mask[:, 196:207].sum() == mask.sum() == 384 * 3


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, "Mask 0 is empty"), (1.0, "white all over"), (0.31, "Mask 0 is empty")]
)
def test_uniform_masks_are_refused(value: float, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        prepare_masks(np.full((1, 384, 384), value, np.float32))


def test_the_number_of_the_bad_mask_is_named(tree: NerveTree) -> None:
    with pytest.raises(MaskError, match="Mask 1 is empty"):
        prepare_masks(np.stack([plain(tree, 3.0), np.zeros((384, 384), np.float32)]))


def test_a_mask_of_another_aspect_is_refused_with_what_came_and_what_to_do() -> None:
    picture = np.zeros((1, 484, 384), np.float32)
    picture[:, :, 100:103] = 1
    with pytest.raises(MaskError, match=r"384 x 484 pixels; expected a square.*top 384 rows"):
        prepare_masks(picture)


def test_an_aspect_within_two_percent_is_accepted() -> None:
    picture = np.zeros((1, 390, 384), np.float32)
    picture[:, :, 100:103] = 1
    assert prepare_masks(picture).shape == (1, 384, 384)


def dots() -> np.ndarray:
    picture = np.zeros((384, 384), np.float32)
    picture[100:108, 100:108] = 1
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(dots(), id="dots"),
        pytest.param(np.tile(np.linspace(0, 1, 384, dtype=np.float32), (384, 1)), id="gradient"),
        pytest.param(np.random.default_rng(0).random((384, 384), np.float32), id="noise"),
        pytest.param((np.arange(384 * 384).reshape(384, 384) < 384 * 192).astype(np.float32), id="half"),
    ],
)
def test_pictures_without_lines_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(MaskError, match="no line of 50 um"):
        prepare_masks(picture[None])


@pytest.mark.parametrize("ink", [0.0, 1.0])
def test_black_and_white_strokes_on_transparency_are_both_seen(ink: float, tree: NerveTree) -> None:
    alpha = torch.from_numpy(plain(tree, 3.0))
    image = torch.cat([torch.full((384, 384, 3), ink), alpha[..., None]], dim=-1)[None]
    (mask,) = prepare_masks(read_drawings(image, None))
    assert centre_line_f1(plain(tree, 3.0) > 0.5, mask).f1 >= 0.99


def test_exactly_one_of_image_and_mask_is_needed() -> None:
    image, mask = torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 8)
    with pytest.raises(MaskError, match="neither an image nor a mask"):
        read_drawings(None, None)
    with pytest.raises(MaskError, match="image and mask"):
        read_drawings(image, mask)


def test_a_mask_passes_as_it_is() -> None:
    mask = torch.rand(2, 8, 8)
    assert read_drawings(None, mask) == pytest.approx(mask.numpy())


def test_frames_and_negatives_are_no_masks_but_soft_and_grey_ones_are(tree: NerveTree) -> None:
    mask = soft(tree)
    check_is_mask(mask, "m.png")
    check_is_mask(0.3 * mask, "m.png")
    for other in (1.0 - mask, np.random.default_rng(0).uniform(0.05, 0.4, mask.shape)):
        with pytest.raises(
            MaskError, match=r"m\.png is no nerve mask: \d+% of it is black.*Prepare Nerve Mask"
        ):
            check_is_mask(other, "m.png")
