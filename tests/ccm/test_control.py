from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.control import check_control_masks, check_masks_fit_latents
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
