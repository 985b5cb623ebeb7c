"""The table of an ablation, its arms, and what counts as finished."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from ccm_pack.training.ablate import arm_config, finished, matched_rank
from ccm_pack.training.ablation_table import as_csv, as_json, as_text, interval, summarise
from small_problem import small_config
from torch import nn

RESULTS = {
    "base": {0: {"f1": 0.1, "mmd": 0.5}, 1: {"f1": 0.3, "mmd": 0.5}},
    "lora": {0: {"f1": 0.4, "mmd": math.nan}, 1: {"f1": 0.6, "mmd": 0.2}},
    "wdlora": {0: {"f1": 0.5, "mmd": 0.1}, 1: {"f1": 0.7, "mmd": 0.1}},
}


def test_the_interval_of_three_seeds_is_that_of_student():
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_one_seed_has_no_interval():
    assert math.isnan(interval([1.0]).low)


def test_differences_are_paired_by_seed():
    gain = summarise(RESULTS)["f1"]["wdlora - lora"]
    assert gain.mean == pytest.approx(0.1) and gain.high - gain.low == pytest.approx(0.0, abs=1e-12)


def test_the_text_has_a_line_for_each_number_below_the_facts():
    lines = as_text(RESULTS, ["Facts."]).splitlines()
    assert lines[0] == "Facts." and "seeds 0, 1" in lines[1]
    assert lines[3].split() == ["base", "lora", "wdlora", "wdlora", "-", "lora"]
    assert lines[4].startswith("f1   0.2 (") and "nan" in lines[5]


def test_the_csv_has_a_line_for_each_run_to_the_last_bit():
    lines = as_csv(RESULTS).splitlines()
    assert lines[:3] == ["arm,seed,f1,mmd", "base,0,0.1,0.5", "base,1,0.3,0.5"] and len(lines) == 7


def test_the_json_can_be_read_by_everyone():
    found = json.loads(json.dumps(as_json(RESULTS, {"steps": 3}), allow_nan=False))
    assert found["steps"] == 3 and len(found["runs"]) == 6 and found["intervals"]["mmd"]["lora"] == [None] * 3


def test_a_lora_gets_the_rank_that_matches_the_parameters():
    targets: dict[str, nn.Module] = {"a": nn.Linear(30, 90), "b": nn.Conv2d(2, 10, 3)}
    each, magnitudes = (30 + 90) + (2 * 9 + 10), 90 + 10
    assert matched_rank(targets, 4) == (5, 5 * each, 4 * each + magnitudes)


def test_the_arms_of_a_seed_differ_in_method_and_folder_only(tmp_path: Path):
    config = small_config(tmp_path)
    lora, wdlora = arm_config(config, "lora", 7), arm_config(config, "wdlora", 7)
    assert (lora.adapter.method, wdlora.adapter.method) == ("lora", "wdlora")
    assert lora.run.seed == wdlora.run.seed == 7 and lora.validation.every == config.optimizer.steps
    assert lora.run.folder == str(tmp_path / "lora_seed7") and lora.data == wdlora.data


def test_a_run_is_finished_when_it_was_measured_after_its_last_step_and_exported(tmp_path: Path):
    config = arm_config(small_config(tmp_path), "lora", 0)
    folder = Path(config.run.folder)
    folder.mkdir()
    assert finished(config, "lora") is None
    (folder / "validation.jsonl").write_text('{"step": 12, "f1": 0.5}\n')
    assert finished(config, "lora") is None and finished(config, "base") is None
    (folder / "adapter.safetensors").write_bytes(b"x")
    assert finished(config, "lora") == {"f1": 0.5}
    (folder / "validation.jsonl").write_text('{"step": 6, "f1": 0.5}\n')
    assert finished(config, "lora") is None


def test_a_rival_is_finished_when_it_was_measured_and_saved_after_its_last_step(tmp_path: Path):
    config = arm_config(small_config(tmp_path), "gan", 0)
    folder = Path(config.run.folder)
    folder.mkdir()
    (folder / "validation.jsonl").write_text('{"step": 12, "f1": 0.5}\n')
    assert finished(config, "gan") is None
    (folder / "checkpoints" / "step_00000012").mkdir(parents=True)
    assert finished(config, "gan") == {"f1": 0.5}
