"""docs/training.md and training/configs against the configuration itself."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, fields
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


def test_the_adapter_that_ships_is_what_its_configuration_says():
    from safetensors import safe_open

    with safe_open(ROOT / "weights/ccm_nano_wdlora.safetensors", "pt") as file:
        trained = json.loads(file.metadata()["ccm.training"])
    config = c.read_config(ROOT / "training/configs/nano.toml")
    assert trained["steps"] == config.optimizer.steps and trained["batch"] == config.optimizer.batch
    assert (
        trained["rank"] == config.adapter.rank and trained["learning_rate"] == config.optimizer.learning_rate
    )
    assert (
        8 * trained["side"] == config.data.crop_px
        and trained["nerve_weight"] == config.objective.nerve_weight
    )
    assert trained["noise_bias"] == config.objective.mean and trained["seed"] == config.run.seed
