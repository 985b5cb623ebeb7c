"""docs/training.md and training/configs against the configuration itself."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from ccm_pack.training import config as c

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "training/configs").glob("*.toml"))


def type_of(hint: Any) -> str:
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in choices)
    if origin in (Union, types.UnionType):
        return type_of(choices[0])
    if origin is tuple:
        return f"list of {type_of(choices[0])}s"
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}[hint]


def default_of(key: Any) -> str:
    if key.default is MISSING:
        return "required"
    return "not set" if key.default is None else f"`{json.dumps(key.default)}`"


def rows(section: type) -> list[str]:
    hints = get_type_hints(section)
    return [
        f"| `{key.name}` | {type_of(hints[key.name])} | {default_of(key)} | {key.metadata['doc']} |"
        for key in fields(section)
    ]


@pytest.mark.parametrize("table", [f.name for f in fields(c.TrainConfig)])
def test_the_guide_explains_every_key_with_its_type_and_default(table):
    guide = (ROOT / "docs/training.md").read_text("utf-8")
    part = guide.split(f"### [{table}]\n")[1].split("\n### ")[0].split("\n## ")[0]
    written = [line for line in part.splitlines() if line.startswith("| `")]
    assert written == rows(get_type_hints(c.TrainConfig)[table])


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_configuration_that_ships_is_valid_and_names_the_sources_of_its_values(file):
    config = c.read_config(file)
    named = file.stem.replace("_", "-")
    if named in c.FAMILIES:
        assert config.base.family == named and "Sources: " in file.read_text("utf-8")


def test_every_family_has_a_configuration():
    families = [family.replace("-", "_") for family in c.FAMILIES]
    assert {file.stem for file in CONFIGS} >= set(families)


@pytest.mark.parametrize("method", ["wdlora", "lora"])
def test_the_adapters_that_ship_are_what_their_configuration_says(method: str):
    from safetensors import safe_open

    with safe_open(ROOT / f"weights/ccm_nano_{method}.safetensors", "pt") as file:
        trained = json.loads(file.metadata()["ccm.training"])["config"]
    config = c.read_config(ROOT / "training/configs/nano.toml", (f'adapter.method="{method}"',))
    said = json.loads(json.dumps(asdict(config)))
    assert said["objective"]["noise_level"] == "uniform"
    for other_law in ("mean", "std", "shift"):
        del said["objective"][other_law]
    for table in ("adapter", "data", "objective", "optimizer", "memory"):
        given = {key: value for key, value in said[table].items() if value is not None and key != "path"}
        assert {key: trained[table][key] for key in given} == given, table
    assert trained["run"]["seed"] == said["run"]["seed"]
