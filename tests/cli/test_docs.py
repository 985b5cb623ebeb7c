"""`python . docs`: pictures that show something, and locale texts that leave nothing out."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.cli import docs_help_pictures, docs_locales, docs_pictures

NODE = {
    "display_name": "Measure",
    "description": "Measures.",
    "category": "CCM/measure",
    "input": {
        "required": {"mask": ["MASK", {"tooltip": "A mask."}]},
        "optional": {"images_a": ["IMAGE", {"tooltip": "Frames.", "display_name": "reference"}]},
    },
    "output_name": ["table"],
    "output_tooltips": ["Rows."],
}


def test_locale_texts_hold_every_name_and_tooltip_of_our_nodes() -> None:
    nodes = {"CCM_Measure": NODE, "KSampler": {"category": "sampling"}}
    assert docs_locales.node_texts(nodes) == {
        "CCM_Measure": {
            "display_name": "Measure",
            "description": "Measures.",
            "inputs": {
                "mask": {"name": "mask", "tooltip": "A mask."},
                "images_a": {"name": "reference", "tooltip": "Frames."},
            },
            "outputs": {"0": {"name": "table", "tooltip": "Rows."}},
        }
    }
    assert docs_locales.category_texts(nodes) == {"nodeCategories": {"CCM": "CCM", "measure": "measure"}}


def test_the_icon_shows_mask_main_fibres_and_branches() -> None:
    icon = docs_pictures.icon()
    assert icon.shape == (400, 400, 3)
    for colour in (docs_pictures.MASK, docs_pictures.MAIN, docs_pictures.BRANCH):
        assert (np.abs(icon - colour).max(axis=2) < 0.02).sum() > 500


@pytest.mark.parametrize("name", ["nerve_masks", "prepared_mask", "tracing"])
def test_a_help_picture_holds_its_panels_side_by_side(name: str) -> None:
    picture = getattr(docs_help_pictures, name)()
    panels = (picture.shape[1] + 8) // (docs_help_pictures.SIDE + 8)
    assert panels == {"nerve_masks": 3, "prepared_mask": 2, "tracing": 3}[name]
    assert 0.0 <= picture.min() and picture.max() <= 1.0
