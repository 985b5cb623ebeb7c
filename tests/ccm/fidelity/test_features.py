"""Feature extraction: batches, progress, sizes, provenance."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import ExtractorError, ImageError
from ccm_pack.ccm.fidelity.features import NERVE_ENCODER, NerveEncoder, extract, resample
from ccm_pack.ccm.segmentation import SegmentationNet, Segmenter


class MeanAndSpread:
    name = "mean and spread"
    hash = "1" * 64
    resize = "none"
    turns_alike = False

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        return np.stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))], axis=1)


class NotANumber(MeanAndSpread):
    def __call__(self, grey: np.ndarray) -> np.ndarray:
        return np.full((len(grey), 2), np.nan)


def test_batches_are_joined_in_order_and_counted(rng) -> None:
    grey, done = rng.random((37, 8, 8)).astype(np.float32), []
    features = extract(MeanAndSpread(), grey, on_batch=done.append)
    assert sum(done) == 37 and len(done) > 1
    assert features.values == pytest.approx(MeanAndSpread()(grey))
    assert str(features.extractor) == "mean and spread (sha256 111111111111; none)"


def test_features_that_are_no_number_are_refused(rng) -> None:
    with pytest.raises(ExtractorError, match="mean and spread gave NaN"):
        extract(NotANumber(), rng.random((2, 8, 8)))


def test_every_frame_needs_a_subject_if_one_has(rng) -> None:
    with pytest.raises(ImageError, match="1 subjects were named for 2 frames"):
        extract(MeanAndSpread(), rng.random((2, 8, 8)), subjects=["p1"])


def test_a_frame_of_the_right_size_is_left_alone(rng) -> None:
    grey = rng.random((1, 384, 384))
    assert resample(grey, 384) is grey


def test_resampling_halves_a_ramp_exactly() -> None:
    """The antialiased half of a ramp is a ramp of twice the step, away from the edges."""
    ramp = np.tile(np.arange(16.0), (1, 16, 1))
    assert resample(ramp, 8)[0, 4, 1:-1] == pytest.approx(2.0 * np.arange(1, 7) + 0.5)


def test_the_nerve_encoder_sees_every_frame_at_384_px(rng) -> None:
    encoder = NerveEncoder(Segmenter(SegmentationNet().eval(), "abc"))
    small = rng.random((1, 96, 128))
    assert (encoder.name, encoder.hash) == (NERVE_ENCODER, "abc")
    assert encoder(small) == pytest.approx(encoder(resample(small, 384)))


def test_the_nerve_encoder_sees_a_turned_and_a_mirrored_frame_alike(rng) -> None:
    encoder = NerveEncoder(Segmenter(SegmentationNet().eval(), "abc"))
    frame = rng.random((1, 384, 384)).astype(np.float32)
    straight = encoder(frame)
    for turned in (np.rot90(frame, 1, axes=(1, 2)), frame[:, :, ::-1]):
        assert encoder(np.ascontiguousarray(turned)) == pytest.approx(straight, abs=1e-4)
    assert encoder.turns_alike
