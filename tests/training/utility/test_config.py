"""What a configuration of a utility study may say, and that the guide says the same."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_type_hints

import pytest
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.utility.config import UtilityConfig, parse_utility, read_utility

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "training/configs/utility/phantoms.toml"
LEAST = {"data": {"real": "r", "synthetic": "s"}, "run": {"folder": "f"}}


def write(path: Path, seeds: int = 5) -> Path:
    path.write_text(f'[data]\nreal = "r"\nsynthetic = "s"\n[run]\nfolder = "f"\nseeds = {seeds}\n', "utf-8")
    return path


def test_the_configuration_that_ships_can_be_read() -> None:
    config = read_utility(SHIPPED)
    assert config.run.seeds == 5 and Path(config.data.real).resolve() == ROOT / "runs/utility/real"


def test_fewer_than_five_seeds_are_a_try(tmp_path: Path) -> None:
    file = write(tmp_path / "few.toml", seeds=4)
    with pytest.raises(TrainingError, match=r"run.seeds is 4.*--try"):
        read_utility(file)
    assert list(read_utility(file, few_seeds=True).seeds) == [0, 1, 2, 3]


def test_a_setting_replaces_a_key_and_paths_start_at_the_file(tmp_path: Path) -> None:
    config = read_utility(write(tmp_path / "five.toml"), ("run.seed=3", "data.shuffle_labels=true"))
    assert list(config.seeds) == [3, 4, 5, 6, 7] and config.data.shuffle_labels
    assert config.data.real == str(tmp_path / "r") and config.run.folder == "f"


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        ("data", "test_shares", 0.5, "did you mean 'test_share'"),
        ("data", "test_share", 1.0, "0.05 to 0.95"),
        ("data", "side_px", 130, "multiple of 4"),
        ("training", "crop_px", 256, "at most data.side_px"),
        ("training", "tasks", [], "tasks is empty"),
        ("training", "tasks", ["segmentatoin"], "did you mean 'segmentation'"),
        ("run", "seeds", 1, "2 to 1000"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key(table: str, key: str, value: object, said: str) -> None:
    tables = {name: dict(keys) for name, keys in LEAST.items()}
    tables.setdefault(table, {})[key] = value
    with pytest.raises(TrainingError, match=said):
        parse_utility(tables, "test")


@pytest.mark.parametrize("table", [f.name for f in fields(UtilityConfig)])
def test_the_guide_explains_every_key_with_its_default(table: str) -> None:
    guide = (ROOT / "docs/utility.md").read_text("utf-8")
    part = guide.split(f"### [{table}]\n")[1].split("\n#")[0]
    written = [line for line in part.splitlines() if line.startswith("| `")]
    defaults = {
        f.name: "required"
        if f.default is MISSING
        else "not set"
        if f.default is None
        else f"`{json.dumps(f.default)}`"
        for f in fields(get_type_hints(UtilityConfig)[table])
    }
    docs = {f.name: f.metadata["doc"] for f in fields(get_type_hints(UtilityConfig)[table])}
    assert written == [f"| `{name}` | {defaults[name]} | {docs[name]} |" for name in defaults]
