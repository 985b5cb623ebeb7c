"""The reference of the public functions renders, with units and sources in it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CCM = Path(__file__).resolve().parents[2] / "ccm"


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


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """The public functions and methods of ccm/, without the phantoms' drawing of their own."""
    for path in sorted(CCM.rglob("*.py")):
        if "phantom" in path.parts:
            continue
        body = ast.parse(path.read_text("utf-8")).body
        classes = (one.body for one in body if isinstance(one, ast.ClassDef) and one.name[0] != "_")
        for node in [*body, *(part for inner in classes for part in inner)]:
            if isinstance(node, ast.FunctionDef) and node.name[0] != "_" and node.name != "forward":
                yield f"{path.relative_to(CCM)}: {node.name}", node


def test_functions_that_take_or_give_arrays_say_their_shapes() -> None:
    silent = []
    for name, node in functions():
        signature = f"{ast.unparse(node.args)} {ast.unparse(node.returns) if node.returns else ''}"
        if re.search(r"ndarray|Tensor\b", signature) and "[" not in (ast.get_docstring(node) or ""):
            silent.append(name)
    assert not silent


def test_functions_that_raise_say_so() -> None:
    silent = []
    for name, node in functions():
        raises = any(isinstance(part, ast.Raise) and part.exc for part in ast.walk(node))
        if raises and not re.search(r"[Rr]aise|Error", ast.get_docstring(node) or ""):
            silent.append(name)
    assert not silent
