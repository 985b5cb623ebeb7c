"""Centre-lines against centre-lines."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import MaskError
from ccm_pack.ccm.morphometry import Adherence, centre_line_f1

SHAPE = (60, 80)


def row(number: int, first: int = 0, last: int = 80) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[number, first:last] = True
    return mask


def test_a_mask_lies_on_itself() -> None:
    assert centre_line_f1(row(20), row(20)) == Adherence(1.0, 1.0, 1.0)


@pytest.mark.parametrize(("shift", "value"), [(3, 1.0), (4, 0.0)])
def test_three_pixels_are_near_and_four_are_not(shift: int, value: float) -> None:
    assert centre_line_f1(row(20), row(20 + shift)) == Adherence(value, value, value)


def test_the_tolerance_is_inclusive_and_may_be_changed() -> None:
    assert centre_line_f1(row(20), row(25), tolerance_px=5).f1 == 1.0
    assert centre_line_f1(row(20), row(25), tolerance_px=4.9).f1 == 0.0


def test_half_a_nerve_has_full_precision_and_little_more_than_half_the_recall() -> None:
    """40 of 80 pixels, and 3 more that are near."""
    precision, recall, f1 = centre_line_f1(row(20, 0, 40), row(20))
    assert (precision, recall) == (1.0, pytest.approx(43 / 80))
    assert f1 == pytest.approx(2 * (43 / 80) / (1 + 43 / 80))


def test_what_lies_nowhere_near_costs_precision() -> None:
    precision, recall, _ = centre_line_f1(row(20) | row(50), row(20))
    assert (precision, recall) == (0.5, 1.0)


def test_widths_do_not_matter() -> None:
    thick = np.zeros(SHAPE, dtype=bool)
    thick[17:24] = True
    assert centre_line_f1(thick, row(20)).f1 == 1.0


def test_two_empty_masks_agree_and_one_does_not_agree_with_a_nerve() -> None:
    empty = np.zeros(SHAPE, dtype=bool)
    assert centre_line_f1(empty, empty) == Adherence(1.0, 1.0, 1.0)
    assert centre_line_f1(empty, row(20)) == centre_line_f1(row(20), empty) == Adherence(0.0, 0.0, 0.0)


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(MaskError, match="sizes"):
        centre_line_f1(np.zeros((4, 4)), np.zeros((4, 5)))
