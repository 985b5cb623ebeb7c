"""What nodes show in themselves, with the real host's classes, in this process."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image


@pytest.fixture
def temporary(comfy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's folder for pictures that are only shown."""
    folder_paths = importlib.import_module("folder_paths")
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    return tmp_path


def node(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"ccm_pack.{module}"), name)


def test_biomarkers_are_shown_as_a_table_that_says_what_the_text_says(temporary: Path) -> None:
    mask = torch.zeros((1, 384, 384))
    mask[0, 100:104] = 1.0
    result = node("biomarker_nodes.biomarkers", "NerveBiomarkers").execute(mask, 400 / 384)
    shown = result.ui.as_dict()
    (table,) = shown["ccm_table"]
    assert table["columns"][1] == ["CNFL", "mm/mm2", "corneal nerve fibre length"]
    assert shown["text"][0].splitlines()[2].split() == table["rows"][0]
    assert json.dumps(shown)  # it goes to the browser as JSON


def test_generated_masks_are_shown_white_on_black(temporary: Path) -> None:
    values = ("Control", 0.0, 0.0, 0.0, 0.0, 2, 1, 96, 3.0)
    result = node("nodes.masks", "GenerateNerveMask").execute(*values)
    shown = result.ui.as_dict()["images"]
    assert len(shown) == 2
    picture = Image.open(temporary / shown[0]["filename"]).convert("L")
    assert picture.size == (96, 96) and picture.getextrema() == (0, 255)


def test_the_cohort_plot_shows_table_and_figure(temporary: Path) -> None:
    frames = [{"cnfl_mm_per_mm2": value} for value in (20.0, 22.0, 10.0, 12.0)]
    measured = json.dumps({"tool": "t", "version": "1", "um_per_px": 1.0, "frames": frames})
    labels = "cohort,patient\nControl,a\nControl,b\nT1DPN,c\nT1DPN,d"
    result = node("biomarker_nodes.cohort_plot", "CohortPlot").execute(measured, labels)
    text, figure = result.args
    assert result.ui["text"] == (text,) and "21 (1.41) n=2" in text
    assert figure.shape[0] == 1 and len(result.ui["images"]) == 1
    assert [column[0] for column in result.ui["ccm_table"][0]["columns"]][2:4] == ["Control", "T1DPN"]
