from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.images import UM_PER_PX
from ccm_pack.ccm.phantom.render import Appearance, render, sample_appearance
from ccm_pack.ccm.phantom.topology import Nerve, NerveTree, grow_tree, sample_targets
from ccm_pack.ccm.phantom.truth import measure_truth

CLEAN = Appearance(
    beading=0.0,
    defocus=0.0,
    haze=0.0,
    mosaic=0.0,
    vignette=0.0,
    speckle=0.0,
    read_noise=0.0,
    row_jitter_px=0.0,
    raggedness_um=0.0,
)
BUSY = Appearance(dendritic_cells=2, k_structures=1)


def vertical_nerve(x_um: float, width_um: float) -> NerveTree:
    y = np.arange(0.0, 400.0, 2.0)
    nerve = Nerve(np.stack([np.full_like(y, x_um), y], axis=1), np.full(len(y), width_um), "main")
    return NerveTree((400.0, 400.0), (nerve,), measure_truth((nerve,), (400.0, 400.0)))


def profile(frame: np.ndarray) -> np.ndarray:
    light = frame[40:340].mean(axis=0)
    return light - np.median(light)


@pytest.mark.parametrize("x_px", [100.0, 100.25, 231.7])
def test_a_nerve_lies_where_its_centre_line_is_to_a_tenth_of_a_pixel(x_px):
    frame = render(vertical_nerve(x_px * UM_PER_PX, 3.0), CLEAN, np.random.default_rng(0))
    light = profile(frame)
    centre = (light * (np.arange(384) + 0.5)).sum() / light.sum()  # pixel i spans i..i+1
    assert centre == pytest.approx(x_px, abs=0.1)


def test_a_wider_nerve_is_wider_in_the_frame():
    def spread(width_um: float) -> float:
        light = profile(render(vertical_nerve(200.0, width_um), CLEAN, np.random.default_rng(0)))
        offset = np.arange(384) + 0.5 - 200.0 / UM_PER_PX
        return float(np.sqrt((light * offset**2).sum() / light.sum()))

    assert spread(2.0) < spread(3.2) < spread(5.0)


def test_without_nerves_and_noise_the_frame_is_the_background():
    empty = NerveTree((400.0, 400.0), (), measure_truth((), (400.0, 400.0)))
    frame = render(empty, CLEAN, np.random.default_rng(0))
    assert frame.mean() == pytest.approx(CLEAN.background, rel=0.02)


def test_the_same_seed_renders_the_same_frame_and_another_seed_another():
    tree = vertical_nerve(200.0, 3.0)
    frames = [render(tree, Appearance(), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


@pytest.mark.parametrize("size_px", [(96, 96), (200, 384)])
def test_any_frame_size_renders_finite_grey_levels(size_px):
    frame = render(vertical_nerve(40.0, 3.0), BUSY, np.random.default_rng(3), size_px)
    assert frame.shape == size_px
    assert np.isfinite(frame).all() and frame.min() >= 0 and frame.max() <= 1


@pytest.mark.parametrize("cohort", list(Cohort))
def test_every_cohort_renders_without_a_warning_or_a_burnt_out_blob(cohort):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        frame = render(grow_tree(sample_targets(cohort, rng), rng), sample_appearance(cohort, rng), rng)
        assert (frame > 0.99).mean() < 0.03


def test_cohorts_differ_in_nerve_contrast_in_the_declared_order():
    def contrast(cohort: Cohort) -> float:
        rng = np.random.default_rng(0)
        return float(np.mean([sample_appearance(cohort, rng).nerve_contrast for _ in range(200)]))

    assert contrast(Cohort.CONTROL) > contrast(Cohort.T1NODPN) > contrast(Cohort.T1DPN)
