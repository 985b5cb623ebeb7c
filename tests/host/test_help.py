"""Every node's help page explains every input and output under the name that the user sees."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGES = Path(__file__).resolve().parents[2] / "web" / "docs"


@pytest.fixture(scope="module")
def ours(server: Any) -> dict[str, Any]:
    with importlib.import_module("ccm_pack.batch.client").Client(server.address) as client:
        return {name: info for name, info in client.object_info().items() if name.startswith("CCM_")}


def explained(page: str, heading: str) -> set[str]:
    """The names in the first column of the tables whose first heading this is."""
    names: set[str] = set()
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif not inside:
            inside = cells[0] == heading
        elif inside:
            names |= set(re.findall(r"\w+", cells[0]))
    return names


def shown_inputs(inputs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The names on the canvas: the display name where there is one, else the id."""
    for kind in ("required", "optional"):
        for name, (_, options) in inputs.get(kind, {}).items():
            yield options.get("display_name") or name


def test_every_page_belongs_to_a_node(ours: dict[str, Any]) -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(ours)


def test_every_input_is_explained(ours: dict[str, Any]) -> None:
    for node, info in ours.items():
        page = (PAGES / f"{node}.md").read_text("utf-8")
        assert set(shown_inputs(info["input"])) <= explained(page, "input"), node


def test_every_output_is_explained(ours: dict[str, Any]) -> None:
    for node, info in ours.items():
        page = (PAGES / f"{node}.md").read_text("utf-8")
        assert set(info["output_name"]) <= explained(page, "output"), node
