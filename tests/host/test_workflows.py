"""Every API graph fits the nodes of the real host: classes, inputs, links and their types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

API = sorted((Path(__file__).resolve().parents[2] / "workflows" / "api").glob("*.json"))


@pytest.fixture(scope="module")
def known(server: Any) -> dict[str, Any]:
    from ccm_pack.batch.client import Client

    with Client(server.address) as client:
        return client.object_info()


def inputs_of(info: dict[str, Any]) -> dict[str, Any]:
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_every_node_and_input_of_a_graph_exists(path: Path, known: dict[str, Any]) -> None:
    for node in json.loads(path.read_text("utf-8")).values():
        assert node["class_type"] in known
        info = known[node["class_type"]]
        assert set(node["inputs"]) <= set(inputs_of(info)), node
        assert set(info["input"].get("required", {})) <= set(node["inputs"]), node


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_every_link_joins_outputs_and_inputs_of_one_type(path: Path, known: dict[str, Any]) -> None:
    graph = json.loads(path.read_text("utf-8"))
    for node in graph.values():
        wanted = inputs_of(known[node["class_type"]])
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                source, slot = value
                given = known[graph[source]["class_type"]]["output"][slot]
                assert wanted[name][0] in (given, "*"), (node["_meta"]["title"], name)


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_every_choice_of_a_graph_is_on_offer(path: Path, known: dict[str, Any]) -> None:
    for node in json.loads(path.read_text("utf-8")).values():
        for name, spec in inputs_of(known[node["class_type"]]).items():
            options = (
                spec[0] if isinstance(spec[0], list) else spec[1].get("options") if len(spec) > 1 else None
            )
            value = node["inputs"].get(name)
            if options is not None and value is not None and not node["class_type"].startswith("LoadImage"):
                assert value in options, (node["_meta"]["title"], name)
