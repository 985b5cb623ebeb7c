"""Validation and ablation end to end, on the embedded family and a data set of nine small frames."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ccm_pack.training.config import TrainConfig, parse_config
from PIL import Image

SPLITS = ("train", "train", "validation")


def write_data(folder: Path) -> None:
    """Write nine patients of one frame each, bright lines on noise, of two cohorts."""
    rng = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", "mask", "cohort", "patient", "split", "um_per_px"])
        for i in range(9):
            mask = np.zeros((64, 64), np.uint8)
            for x in rng.integers(8, 56, 2):
                cv2.line(mask, (int(x), 0), (int(rng.integers(8, 56)), 63), 255, 3)
            frame = 40 + rng.normal(0, 10, mask.shape) + 0.6 * cv2.GaussianBlur(mask, (0, 0), 1)
            Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).save(folder / f"f{i}.png")
            Image.fromarray(mask).save(folder / f"m{i}.png")
            cohort = ("Control", "T1DPN")[i % 2]
            table.writerow([f"f{i}.png", f"m{i}.png", cohort, f"p{i}", SPLITS[i % 3], "1.0417"])


@pytest.fixture
def config(host: Path, tmp_path: Path) -> TrainConfig:
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data")
    return parse_config(
        {
            "base": {"family": "nano"},
            "data": {"path": str(tmp_path / "data"), "flips": False},
            "adapter": {"rank": 2, "alpha": 2.0, "targets": ".*attn.proj"},
            "optimizer": {"steps": 1, "batch": 1, "warmup_steps": 0},
            "memory": {"autocast": "off"},
            "validation": {"frames": 2, "steps": 1},
            "run": {"folder": str(tmp_path / "ablation"), "device": "cpu"},
        }
    )


def test_an_ablation_ends_in_one_table_and_does_nothing_twice(config: TrainConfig, monkeypatch: Any):
    ablation = importlib.import_module("ccm_pack.training.ablate")
    folder = Path(config.run.folder)
    rivals = ("gan", "scratch")
    text = ablation.ablate(config, seeds=1, rivals=rivals)
    assert text == (folder / "ablation.txt").read_text() and "adherence_f1" in text
    found = json.loads((folder / "ablation.json").read_text())
    arms = {("gan", 0), ("scratch", 0), ("base", 0), ("lora", 0), ("wdlora", 0)}
    assert {(run["arm"], run["seed"]) for run in found["runs"]} == arms
    assert abs(found["lora_parameters"] / found["wdlora_parameters"] - 1) < 0.25
    for arm, step in (("base", 0), ("lora", 1), ("wdlora", 1), ("gan", 1), ("scratch", 1)):
        samples = folder / f"{arm}_seed0" / "samples" / f"step_{step:08d}"
        assert Image.open(samples.with_suffix(".png")).width > 500
        numbers = json.loads(samples.with_suffix(".json").read_text())
        assert [len(numbers["frames"]), numbers["step"]] == [2, step]
        judged = {
            "adherence_f1",
            "cnfl_mm_per_mm2_error",
            "cnfl_mm_per_mm2_equivalent",
            "ssim",
            "psnr",
            "mmd",
        }
        assert judged <= numbers["means"].keys()

    monkeypatch.setattr(ablation, "_run", None)
    assert ablation.ablate(config, seeds=1, rivals=rivals) == text


def test_a_model_from_scratch_starts_with_other_weights_and_trains_them_all(config: TrainConfig):
    trainer, scratch, validate, processes = (
        importlib.import_module(f"ccm_pack.training.{name}")
        for name in ("trainer", "rivals.scratch", "validate", "processes")
    )
    folder = Path(config.run.folder)
    setup = trainer.set_up(config, processes.join("cpu"), False, folder / "cache")
    before = {name: p.detach().clone() for name, p in setup.base.network.named_parameters()}
    validation = validate.Validation(setup, setup.splits.validation, folder)
    with scratch.rival(setup, validation) as rival:
        parameters = rival.problem.parameters
        name = "joint_blocks.0.x_block.attn.qkv.weight"
        assert not torch.equal(parameters[f"base.{name}"], before[name])
        for p in parameters.values():  # fresh modulations are zero, and nothing would flow
            p.data.add_(0.02 * torch.randn_like(p))
        rival.problem.losses(range(4)).sum().backward()
        idle = [name for name, p in parameters.items() if p.grad is None]
        assert not [name for name in idle if name.startswith("base.")] and len(idle) < 0.1 * len(parameters)
