"""The laboratory's measurement of a drawn tree against what the tree is by construction."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.morphometry import measure_nerves
from ccm_pack.ccm.phantom.mask import draw_mask
from ccm_pack.ccm.phantom.topology import grow_tree, sample_targets


@pytest.mark.parametrize("width_px", [None, 3.0])
def test_measurement_and_truth_agree(width_px: float | None) -> None:
    errors, exact = [], []
    for seed in range(30):
        rng = np.random.default_rng([seed, 7])
        tree = grow_tree(sample_targets(list(Cohort)[seed % 3], rng), rng)
        measured = measure_nerves(draw_mask(tree, width_px=width_px) >= 128)
        errors.append(measured.cnfl_mm_per_mm2 / tree.truth.cnfl_mm_per_mm2 - 1)
        exact.append(
            (
                measured.main_fibres == tree.truth.main_fibres,
                measured.branch_points == tree.truth.branch_points,
            )
        )
    assert np.abs(errors).mean() <= 0.003 and np.abs(errors).max() <= 0.02
    assert (np.mean(exact, axis=0) >= 0.95).all()
