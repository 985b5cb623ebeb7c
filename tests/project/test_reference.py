"""The reference of the public functions renders, with units and sources in it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def test_the_reference_renders_with_units_and_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    docs = importlib.import_module("ccm_pack.cli.docs")
    monkeypatch.setattr(docs, "REFERENCE", tmp_path)
    assert docs.reference() == [tmp_path / "index.html"]
    pages = {page.stem: page.read_text("utf-8") for page in tmp_path.rglob("*.html")}
    assert {"morphometry", "fidelity", "adapter", "statistics", "phantom", "cohorts"} <= set(pages)
    assert "mm^2" in pages["images"] and "in um" in pages["graph"]
    assert "Kallinikos" in pages["biomarkers"] and "Hedges 1981" in pages["effect"]
