"""`python . docs`: pictures that show something, and locale texts that leave nothing out."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.cli import docs_help_pictures, docs_locales, docs_pictures, docs_place, docs_thumbnails

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


@pytest.mark.parametrize(
    ("node", "panels"),
    [("CCM_GenerateNerveMask", 3), ("CCM_PrepareNerveMask", 2), ("CCM_NerveMaskConcat", 4)],
)
def test_a_help_picture_is_as_wide_as_its_panels(node: str, panels: int) -> None:
    picture = docs_help_pictures.PICTURES[node]()
    side = min((docs_help_pictures.WIDTH + docs_help_pictures.GAP) // panels - docs_help_pictures.GAP, 256)
    assert picture.shape[1] == panels * (side + docs_help_pictures.GAP) - docs_help_pictures.GAP
    assert 0.0 <= picture.min() and picture.max() <= 1.0


def test_a_node_stands_between_what_feeds_it_and_what_it_feeds() -> None:
    alone = docs_place.place("CCM_LoadNano", "first_steps", {})
    between = docs_place.place("CCM_NerveMaskReference", "qwen_image_edit", {})
    step = docs_place.BOX + docs_place.BETWEEN
    assert alone.shape[1] == 2 * docs_place.MARGIN + docs_place.BOX + step
    assert between.shape[1] == alone.shape[1] + step


def test_every_template_gets_a_thumbnail() -> None:
    frames = {cohort: docs_thumbnails._phantoms(cohort) for cohort in Cohort}
    material = docs_thumbnails.Material(frames, frames[Cohort.T1DPN][0], frames)
    templates = {file.stem: file for file in docs_thumbnails.TEMPLATES.glob("*.json")}
    assert set(docs_thumbnails.DRAWN) <= set(templates)
    for name, file in templates.items():
        draw = docs_thumbnails.DRAWN.get(name)
        picture = draw(material) if draw else docs_thumbnails._foundation(file)
        assert picture.shape == (384, 384, 3) and 0.0 <= picture.min() < picture.max() <= 1.0, name
        assert file.with_suffix(".jpg").is_file()
