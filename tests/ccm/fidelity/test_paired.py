"""SSIM against scikit-image; PSNR and MS-SSIM against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.fidelity.paired import C1, SCALE_WEIGHTS, ms_ssim, paired_similarity, psnr_db, ssim


def pair(rng: np.random.Generator, height: int, width: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    x = 0.5 + 0.4 * np.sin(np.arange(height)[:, None] / 7.0) * np.cos(np.arange(width)[None, :] / 5.0)
    return x, np.clip(x + noise * rng.standard_normal((height, width)), 0.0, 1.0)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
@pytest.mark.parametrize(("height", "width"), [(11, 11), (64, 80), (384, 384)])
def test_ssim_equals_scikit_image(rng, height: int, width: int, noise: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pair(rng, height, width, noise)
    truth = metrics.structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )
    assert ssim(x, y) == pytest.approx(truth, abs=1e-10)


def test_psnr_of_an_error_of_one_tenth_is_20_db() -> None:
    assert psnr_db(np.zeros((4, 4)), np.full((4, 4), 0.1)) == pytest.approx(20.0)


def test_identical_frames_have_infinite_psnr_and_similarity_one(rng) -> None:
    x = rng.random((2, 180, 180))
    result = paired_similarity(x, x)
    assert np.isinf(result.psnr_db).all()
    assert result.ssim == pytest.approx(1.0) and result.ms_ssim == pytest.approx(1.0)
    assert result.n == 2


def test_flat_frames_differ_in_luminance_alone() -> None:
    """Flat frames of 0.5 and 0.7: structure is 1 at every scale, luminance counts at the last only."""
    luminance = (2 * 0.5 * 0.7 + C1) / (0.5**2 + 0.7**2 + C1)
    x, y = np.full((192, 192), 0.5), np.full((192, 192), 0.7)
    assert ssim(x, y) == pytest.approx(luminance)
    assert ms_ssim(x, y) == pytest.approx(luminance ** SCALE_WEIGHTS[-1])


def test_ms_ssim_equals_torchmetrics(rng) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image", reason="torchmetrics is not installed")
    torch = pytest.importorskip("torch")
    x, y = pair(rng, 192, 256, 0.1)
    frames = (torch.from_numpy(frame)[None, None] for frame in (y, x))
    truth = functional.multiscale_structural_similarity_index_measure(*frames, sigma=1.5, data_range=1.0)
    assert ms_ssim(x, y) == pytest.approx(float(truth), abs=1e-3)  # torchmetrics pads, we do not


def test_a_negative_has_ms_ssim_zero(rng) -> None:
    x = rng.random((192, 192))
    assert ms_ssim(x, 1.0 - x) == 0.0


def test_ms_ssim_is_left_out_below_176_px(rng) -> None:
    x = rng.random((1, 175, 200))
    assert paired_similarity(x, x).ms_ssim is None


@pytest.mark.parametrize(
    ("reference", "generated", "said"),
    [
        (np.zeros((2, 32, 32)), np.zeros((3, 32, 32)), "Pairs have shapes"),
        (np.zeros((2, 32, 32)), np.zeros((2, 32, 33)), "Pairs have shapes"),
        (np.zeros((0, 32, 32)), np.zeros((0, 32, 32)), "Pairs have shapes"),
        (np.zeros((1, 10, 32)), np.zeros((1, 10, 32)), "below 11 px"),
        (np.zeros((1, 32, 32)), np.full((1, 32, 32), 255.0), "Generated frames hold values outside"),
        (np.full((1, 32, 32), np.nan), np.zeros((1, 32, 32)), "Reference frames hold values outside"),
    ],
)
def test_pairs_that_cannot_be_compared_are_refused(
    reference: np.ndarray, generated: np.ndarray, said: str
) -> None:
    with pytest.raises(ImageError, match=said):
        paired_similarity(reference, generated)
