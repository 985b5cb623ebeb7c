"""Every help page shows one picture, which `python . docs pictures` draws and which is light enough for a click."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ccm_pack.cli import docs_help_pictures as pictures

PAGES = sorted((Path(__file__).resolve().parents[2] / "web" / "docs").glob("CCM_*.md"))
FOLDER = PAGES[0].parent / "pictures"
MOST_IN_ALL = 1_000_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_help_page_shows_the_picture_of_its_node(page: Path) -> None:
    shown = re.findall(r"^!\[[^\]]+\]\((.+)\)$", page.read_text("utf-8"), re.MULTILINE)
    assert shown in ([f"pictures/{page.stem}.jpg"], [f"pictures/{page.stem}.png"])
    assert 1_000 < (page.parent / shown[0]).stat().st_size <= pictures.MOST_BYTES


def test_the_command_draws_the_picture_of_every_page_and_no_other() -> None:
    drawn = [*pictures.PLOTS, *pictures.PLACES, *pictures.PICTURES, *pictures.GENERATED]
    assert sorted(drawn) == [page.stem for page in PAGES]
    assert sorted(file.stem for file in FOLDER.iterdir()) == [page.stem for page in PAGES]
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= MOST_IN_ALL
