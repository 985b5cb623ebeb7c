"""Random nerve trees: length and counts against the truth, in any orientation and at any pixel size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from analytic_curves import UM_PER_PX, Phantom
from ccm_pack.ccm.morphometry import NerveBiomarkers, measure_nerves
from random_trees import random_tree


@pytest.fixture(scope="module")
def trees() -> list[Phantom]:
    return [tree for tree in map(random_tree, range(40)) if tree.mains]


@pytest.fixture(scope="module")
def measured(trees: list[Phantom]) -> list[NerveBiomarkers]:
    return [measure_nerves(tree.mask(), UM_PER_PX) for tree in trees]


def test_length_is_right(trees: list[Phantom], measured: list[NerveBiomarkers]) -> None:
    errors = [m.length_um / (UM_PER_PX * tree.length) - 1.0 for m, tree in zip(measured, trees, strict=True)]
    assert np.mean(np.abs(errors)) <= 0.003 and np.max(np.abs(errors)) <= 0.02


@pytest.mark.parametrize(
    ("found", "true"), [("main_fibres", "mains"), ("branch_points",) * 2, ("branches",) * 2]
)
def test_counts_are_right(
    trees: list[Phantom], measured: list[NerveBiomarkers], found: str, true: str
) -> None:
    exact = [getattr(m, found) == getattr(tree, true) for m, tree in zip(measured, trees, strict=True)]
    assert np.mean(exact) >= 0.95


def values(measured: NerveBiomarkers) -> list[float]:
    return [value for value in vars(measured).values() if isinstance(value, int | float)]


@pytest.mark.parametrize(
    "turned", [np.rot90, np.fliplr, np.flipud, np.transpose, lambda mask: np.rot90(mask, 2)]
)
def test_a_turned_frame_measures_the_same(
    trees: list[Phantom], measured: list[NerveBiomarkers], turned
) -> None:
    for tree, upright in list(zip(trees, measured, strict=True))[:8]:
        again = measure_nerves(turned(tree.mask()), UM_PER_PX)
        assert values(again) == pytest.approx(values(upright), rel=1e-6)


@pytest.mark.parametrize("scale", (0.5, 2.0))
def test_another_pixel_size_measures_the_same(
    trees: list[Phantom], measured: list[NerveBiomarkers], scale: float
) -> None:
    same = []
    for tree, usual in list(zip(trees, measured, strict=True))[:12]:
        again = measure_nerves(tree.mask(scale), UM_PER_PX / scale)
        assert again.cnfl_mm_per_mm2 == pytest.approx(usual.cnfl_mm_per_mm2, rel=0.01)
        assert again.frame_area_mm2 == pytest.approx(usual.frame_area_mm2)
        if usual.main_fibres:
            assert again.tortuosity_tc == pytest.approx(usual.tortuosity_tc, abs=0.6)
        same.append((again.main_fibres, again.branch_points) == (usual.main_fibres, usual.branch_points))
    assert np.mean(same) >= 0.9


@pytest.mark.parametrize("shape", [(96, 96), (200, 700), (901, 333)])
def test_frames_of_any_size_are_measured(shape: tuple[int, int]) -> None:
    tree = random_tree(5, shape)
    found = measure_nerves(tree.mask(), UM_PER_PX)
    assert found.frame_area_mm2 == pytest.approx(math.prod(shape) * UM_PER_PX**2 * 1e-6)
    if tree.mains:
        assert found.length_um == pytest.approx(UM_PER_PX * tree.length, rel=0.02)


def test_a_mosaic_is_the_sum_of_its_tiles() -> None:
    tiles = [random_tree(seed) for seed in (3, 8, 21, 34)]
    mosaic = np.zeros((1600, 1600), dtype=bool)
    for tile, (row, column) in zip(tiles, [(50, 60), (60, 1000), (1050, 90), (1100, 1100)], strict=True):
        mosaic[row : row + 384, column : column + 384] = tile.mask()
    found = measure_nerves(mosaic, UM_PER_PX)
    parts = [measure_nerves(tile.mask(), UM_PER_PX) for tile in tiles]
    assert found.main_fibres == sum(part.main_fibres for part in parts)
    assert found.length_um == pytest.approx(sum(part.length_um for part in parts), rel=0.02)
