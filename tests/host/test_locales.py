"""The English locale files say what the nodes say, and the nodes' ids and inputs stay what they were."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FROZEN = Path(__file__).with_name("frozen_nodes.json")


@pytest.fixture(scope="module")
def nodes(server: Any) -> dict[str, Any]:
    with importlib.import_module("ccm_pack.batch.client").Client(server.address) as client:
        return {name: info for name, info in client.object_info().items() if name.startswith("CCM_")}


def locale_of(name: str) -> Any:
    return json.loads((ROOT / "locales" / "en" / f"{name}.json").read_text("utf-8"))


def test_the_node_texts_are_those_of_the_schemas(nodes: dict[str, Any]) -> None:
    texts = importlib.import_module("ccm_pack.cli.docs_locales").node_texts(nodes)
    assert locale_of("nodeDefs") == texts, "run `python . docs locales`"


def test_the_categories_are_those_of_the_schemas(nodes: dict[str, Any]) -> None:
    texts = importlib.import_module("ccm_pack.cli.docs_locales").category_texts(nodes)
    assert locale_of("main") == texts, "run `python . docs locales`"


def test_the_host_serves_the_texts(client: Any) -> None:
    from urllib.request import urlopen

    with urlopen(f"{client.address}/i18n") as answer:
        served = json.load(answer)["en"]
    assert served["nodeDefs"]["CCM_DPNPrompt"] == locale_of("nodeDefs")["CCM_DPNPrompt"]


def signature(info: dict[str, Any]) -> dict[str, list[str]]:
    """Names in the order of the widgets and slots that saved workflows rely on."""
    order = info["input_order"]
    return {
        "inputs": [*order.get("required", []), *order.get("optional", [])],
        "outputs": info["output_name"],
    }


def test_no_node_id_input_or_output_that_workflows_rely_on_has_moved(nodes: dict[str, Any]) -> None:
    """What is new comes last, and into the list of frozen nodes with the release that brings it."""
    frozen = json.loads(FROZEN.read_text("utf-8"))
    for name, known in frozen.items():
        assert name in nodes, f"{name} is gone: saved workflows would show a red node"
        now = signature(nodes[name])
        for part, names in known.items():
            assert now[part][: len(names)] == names, f"{name}: {part} moved"
    new = {name: signature(info) for name, info in nodes.items() if signature(info) != frozen.get(name)}
    assert not new, f"add to {FROZEN.name}: {json.dumps(new)}"


def test_every_stage_has_a_colour(nodes: dict[str, Any]) -> None:
    script = (ROOT / "web" / "ccm_display.js").read_text("utf-8")
    colours = script[script.index("const STAGES") :].partition(";")[0]
    for info in nodes.values():
        stage = info["category"].rpartition("/")[2]
        assert f"{stage}:" in colours, f"web/ccm_display.js: STAGES has no colour for {info['category']}"


def test_display_names_are_in_title_case_and_told_apart(nodes: dict[str, Any]) -> None:
    names = [info["display_name"] for info in nodes.values()]
    assert len(set(names)) == len(names)
    for name in names:
        assert all(word[0].isupper() for word in name.split()), name
