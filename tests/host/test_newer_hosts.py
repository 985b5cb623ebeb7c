"""Fields that only newer hosts know are passed only there."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, fields
from typing import Any

import pytest


@pytest.fixture
def nodes(comfy: Any) -> list[Any]:
    return [
        node
        for package in ("nodes", "biomarker_nodes")
        for node in importlib.import_module(f"ccm_pack.{package}").NODES
    ]


def test_every_schema_keeps_to_the_fields_of_this_host(nodes: list[Any]) -> None:
    io = importlib.import_module("comfy_api.latest").io
    known = {one.name for one in fields(io.Schema)}
    assert all(set(vars(node.define_schema())) <= known for node in nodes)


def test_a_newer_host_is_told_the_words_under_which_a_node_is_found(
    nodes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    io = importlib.import_module("comfy_api.latest").io

    @dataclass
    class NewerSchema(io.Schema):
        search_aliases: list[str] = field(default_factory=list)
        essentials_category: str | None = None

    monkeypatch.setattr(io, "Schema", NewerSchema)
    found = {schema.node_id: schema.search_aliases for schema in (node.define_schema() for node in nodes)}
    assert "CNFL" in found["CCM_NerveBiomarkers"]
    assert sum(bool(words) for words in found.values()) >= 10
