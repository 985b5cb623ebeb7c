"""Whatever comes in: a defined value or an error of ours, never a crash and never a warning."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from analytic_curves import UM_PER_PX
from ccm_pack.ccm.errors import CCMError, MaskError
from ccm_pack.ccm.morphometry import measure_nerves
from random_trees import random_tree

Make = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

PICTURES: dict[str, Make] = {
    "noise": lambda rng, shape: rng.random(shape) < rng.uniform(0.01, 0.99),
    "clouds": lambda rng, shape: _blurred(rng, shape) > 0.5,
    "inverted clouds": lambda rng, shape: _blurred(rng, shape) < 0.45,
    "constant": lambda rng, shape: np.full(shape, rng.integers(2), dtype=bool),
    "chequers": lambda rng, shape: np.indices(shape).sum(axis=0) // rng.integers(1, 5) % 2 == 0,
    "stripes": lambda rng, shape: np.indices(shape)[rng.integers(2)] // rng.integers(1, 9) % 2 == 0,
    "dots": lambda rng, shape: rng.random(shape) < 0.02,
    "boxes": lambda rng, shape: _boxes(rng, shape),
    "one pixel": lambda rng, shape: (
        np.arange(math.prod(shape)).reshape(shape) == rng.integers(math.prod(shape))
    ),
}
TYPES = (bool, np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64)


def _blurred(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    small = rng.random((shape[0] // 6 + 2, shape[1] // 6 + 2))
    rows, columns = (
        np.linspace(0, small.shape[0] - 1.001, shape[0]),
        np.linspace(0, small.shape[1] - 1.001, shape[1]),
    )
    return small[rows.astype(int)][:, columns.astype(int)]


def _boxes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    picture = np.zeros(shape, dtype=bool)
    for _ in range(12):
        row, column = rng.integers(shape[0]), rng.integers(shape[1])
        picture[row : row + rng.integers(1, 60), column : column + rng.integers(1, 60)] ^= True
    return picture


def check(mask: np.ndarray, um_per_px: float) -> None:
    found = measure_nerves(mask, um_per_px)
    assert found.length_um >= 0.0 and 0.0 <= found.cnfa <= 1.0 and found.frame_area_mm2 > 0.0
    for name, value in vars(found).items():
        if isinstance(value, float):
            may_lack = name.startswith(("tortuosity", "cnfw", "cnfrd"))
            assert math.isfinite(value) or (may_lack and math.isnan(value)), name
    height, width = mask.shape
    for nerve in found.graph.nerves:
        for points, widths in zip(nerve.pieces_um, nerve.widths_um, strict=True):
            assert len(points) == len(widths) >= 2 and np.isfinite(points).all() and (widths >= 0).all()
            outside = 2.0 * um_per_px
            assert (points >= -outside).all() and (
                points <= np.array([width, height]) * um_per_px + outside
            ).all()


@pytest.mark.parametrize("kind", PICTURES)
def test_any_picture_of_any_size_type_and_pixel_size_has_a_value(kind: str) -> None:
    rng = np.random.default_rng(list(PICTURES).index(kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(40):
            shape = (int(rng.integers(1, 200)), int(rng.integers(1, 200)))
            mask = PICTURES[kind](rng, shape).astype(TYPES[rng.integers(len(TYPES))])
            check(mask, float(rng.choice([0.1, 0.5, UM_PER_PX, 2.0, 10.0])))


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 2), (3, 5), (1, 32766), (32766, 2)])
def test_the_smallest_and_the_longest_frames_have_a_value(shape: tuple[int, int]) -> None:
    for mask in (np.ones(shape), np.zeros(shape), np.arange(math.prod(shape)).reshape(shape) % 3):
        check(mask, UM_PER_PX)


def test_a_mosaic_longer_than_any_cornea_is_refused() -> None:
    with pytest.raises(MaskError, match="32766"):
        measure_nerves(np.ones((1, 32767)), UM_PER_PX)


def test_pictures_that_are_no_masks_are_refused_with_a_fix() -> None:
    rng = np.random.default_rng(0)
    for shape in [(), (0,), (0, 0), (5,), (4, 4, 1), (4, 4, 3), (4, 4, 4), (1, 4, 4), (2, 0)]:
        with pytest.raises(CCMError, match="Fix: "):
            measure_nerves(rng.random(shape), UM_PER_PX)


@pytest.mark.soak
def test_two_thousand_pictures_have_a_value() -> None:
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        kind = list(PICTURES)[rng.integers(len(PICTURES))]
        shape = (int(rng.integers(1, 600)), int(rng.integers(1, 600)))
        check(
            PICTURES[kind](rng, shape).astype(TYPES[rng.integers(len(TYPES))]), float(rng.uniform(0.05, 20.0))
        )


@pytest.mark.soak
def test_a_mosaic_of_6000_pixels_is_measured() -> None:
    tile = random_tree(3).mask()
    mosaic = np.tile(np.pad(tile, 8), (15, 15))
    check(mosaic, UM_PER_PX)
    check(np.ones((6000, 6000), dtype=bool), UM_PER_PX)
