"""Whole runs on the embedded base, in the real host's own code."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ccm_pack.ccm.adapter import read_adapter


def module(name: str) -> Any:
    """A module of the trainer; the host must be on the path before it is imported."""
    return importlib.import_module(f"ccm_pack.training.{name}")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = module("data.phantoms")
    folder = tmp_path_factory.mktemp("phantoms")
    data.write_phantoms(data.PhantomRequest(patients=9, frames=1, seed=3), folder, workers=1)
    return folder


def config_for(phantoms: Path, run: Path, **tables: dict[str, Any]) -> Any:
    given: dict[str, dict[str, Any]] = {
        "base": {"family": "nano"},
        "data": {"path": str(phantoms), "crop_px": 96, "flips": False, "control_drop": 0.3},
        "adapter": {"rank": 4},
        "objective": {"mean": 0.8, "nerve_weight": 12.0},
        "optimizer": {"steps": 4, "batch": 2, "accumulation": 2, "warmup_steps": 1, "learning_rate": 2e-3},
        "checkpoint": {"every": 1},
        "run": {"folder": str(run), "device": "cpu", "seed": 5, "licence": "GPL-3.0-or-later"},
    }
    merged = {name: {**given.get(name, {}), **tables.get(name, {})} for name in {**given, **tables}}
    return module("config").parse_config(merged)


def hashes(run: Path) -> list[str]:
    found = sorted((run / "checkpoints").glob("step_*"))
    return [json.loads((folder / "state.json").read_text())["sha256"] for folder in found]


def test_a_run_is_a_folder_with_an_adapter_that_says_what_it_was_made_of(host, phantoms, tmp_path):
    config = config_for(phantoms, tmp_path / "run")
    assert module("trainer").train(config)
    run = tmp_path / "run"
    assert {"config.toml", "manifest.json", "log.jsonl", "report.md", "loss.png", "adapter.safetensors"} <= {
        path.name for path in run.iterdir()
    }
    said = read_adapter(run / "adapter.safetensors").training
    manifest = json.loads((run / "manifest.json").read_text())
    assert said["step"] == 4 and said["seed"] == 5 and said["licence"] == "GPL-3.0-or-later"
    assert sorted(said["cohorts"]) == ["Control", "T1DPN", "T1NoDPN"]
    assert said["data"]["frames"] == {name: len(records) for name, records in manifest["splits"].items()}
    patients = {patient for records in manifest["splits"].values() for _, patient in records}
    text = json.dumps(said)
    assert not any(patient in text for patient in patients) and str(phantoms) not in text
    assert str(tmp_path) not in text and manifest["salt"] not in text
    assert manifest["adapter"]["layers"] == len(read_adapter(run / "adapter.safetensors").layers)


def test_a_run_that_was_stopped_ends_with_the_hashes_of_one_that_was_not(
    host, phantoms, tmp_path, monkeypatch
):
    whole, stopped = (config_for(phantoms, tmp_path / name) for name in ("whole", "stopped"))
    assert module("trainer").train(whole)
    run = module("run")
    original = run.Run._save

    def interrupted(self: Any) -> None:
        original(self)
        if self.loop.step == 2 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            raise KeyboardInterrupt

    monkeypatch.setattr(run.Run, "_save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module("trainer").train(stopped)
    assert module("trainer").train(stopped, resume=True)
    assert hashes(tmp_path / "whole")[-1] == hashes(tmp_path / "stopped")[-1]
    a, b = (read_adapter(tmp_path / name / "adapter.safetensors").layers for name in ("whole", "stopped"))
    assert all(torch.equal(a[name].up, b[name].up) and torch.equal(a[name].down, b[name].down) for name in a)


@pytest.mark.parametrize("batch", [6])
def test_a_dry_run_predicts_the_peak_of_a_real_run(host, phantoms, tmp_path, batch):
    config = config_for(phantoms, tmp_path / "run", optimizer={"batch": batch, "accumulation": 1, "steps": 3})
    trainer, memory, task = module("trainer"), module("memory"), module("task")
    loop, processes = module("loop"), module("processes").join("cpu")
    setup = trainer.set_up(config, processes, False, tmp_path / "cache")
    setup.prepared.fill(setup.sampler.sample(k) for k in range(8 * batch))
    with task.adapted(setup.base, setup.prepared, setup.sampler, config, processes.device) as problem:
        predicted = memory.predict_peak(problem, config, processes)
        real = loop.Loop(problem, config, processes)
        with memory.peak_memory(processes.device) as meter:
            for _ in range(8):
                real.advance()
    assert predicted.peak == pytest.approx(meter.peak, rel=0.15)


def test_a_dry_run_lists_the_layers_and_writes_nothing(host, phantoms, tmp_path):
    text = module("trainer").dry_run(config_for(phantoms, tmp_path / "run"))
    assert "  joint_blocks.0.x_block.attn.qkv  Linear 768 x 256\n" in text
    assert "GB at the peak of live tensors" in text and not (tmp_path / "run").exists()


@pytest.mark.parametrize("memory", [{"checkpointing": True}, {"offload_blocks": 2}])
def test_lean_memory_changes_no_number_of_a_real_base(host, phantoms, tmp_path, memory):
    table = {"autocast": "off"}
    runs = {"plain": config_for(phantoms, tmp_path / "plain", memory=table)}
    runs["lean"] = config_for(phantoms, tmp_path / "lean", memory={**table, **memory})
    for config in runs.values():
        assert module("trainer").train(replace(config, optimizer=replace(config.optimizer, steps=2)))
    a, b = (read_adapter(tmp_path / name / "adapter.safetensors").layers for name in runs)
    assert all(torch.allclose(a[name].up, b[name].up, atol=1e-6) for name in a)


class Repeated:
    """A sampler that gives the same four samples again and again: fixed crops, noise and noise levels."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def sample(self, k: int) -> Any:
        return self.sampler.sample(k % 4)


def test_four_pairs_are_learnt_by_heart(host, phantoms, tmp_path):
    """Noise and noise levels fixed, without the mask: the loss falls by 3 x, mask F1 of the predicted frames rises."""
    config = config_for(
        phantoms,
        tmp_path / "run",
        data={
            "path": str(phantoms),
            "crop_px": 192,
            "flips": False,
            "control_drop": 1.0,
            "caption_drop": 0.0,
        },
        adapter={"rank": 16},
        objective={"mean": 1.5, "std": 0.2, "nerve_weight": 4.0},
        optimizer={
            "steps": 120,
            "batch": 4,
            "accumulation": 1,
            "warmup_steps": 6,
            "schedule": "one-cycle",
            "learning_rate": 5e-3,
        },
    )
    trainer, task, loop = module("trainer"), module("task"), module("loop")
    processes = module("processes").join("cpu")
    setup = trainer.set_up(config, processes, False, tmp_path / "cache")
    sampler = Repeated(setup.sampler)
    setup.prepared.fill(sampler.sample(k) for k in range(4))
    with task.adapted(setup.base, setup.prepared, sampler, config, processes.device) as problem:
        before = adherence(setup, problem, sampler)
        real = loop.Loop(problem, config, processes)
        losses = [real.advance().loss for _ in range(config.optimizer.steps)]
        after = adherence(setup, problem, sampler)
    assert losses[-1] * 3 <= losses[0]
    assert after >= before + 0.1


def adherence(setup: Any, problem: Any, sampler: Any) -> float:
    """Mean centre-line F1 of the clean frames that the model predicts from the four noisy ones."""
    objective = module("objective")
    adhere = importlib.import_module("ccm_pack.ccm.morphometry.adherence").centre_line_f1
    trace = importlib.import_module("ccm_pack.training.scores").trace
    samples = [sampler.sample(k) for k in range(4)]
    batch, model = setup.prepared.batch(samples), setup.base.model
    z = model.process_latent_in(batch.latents.float())
    drawn = [objective._draw(int(s), z.shape[1:], problem.config) for s in batch.noise_seeds]
    sigma = torch.stack([objective.host_sigma(model, level) for _, level in drawn])
    x = model.model_sampling.noise_scaling(sigma[:, None, None, None], torch.stack([e for e, _ in drawn]), z)
    with torch.no_grad():
        latents = model.process_latent_out(setup.base.denoised(x, sigma, batch.condition).float())
        frames = setup.base.decode(latents).clamp(0, 1).numpy()
    scores = []
    for sample, frame in zip(samples, frames, strict=True):
        scores.append(
            adhere(trace(frame, setup.splits.train[sample.record].um_per_px).mask, crop_of(setup, sample)).f1
        )
    return float(np.mean(scores))


def crop_of(setup: Any, sample: Any) -> np.ndarray:
    """The part of the mask that a sample shows."""
    mask = importlib.import_module("ccm_pack.ccm.frames.record").load_mask(setup.splits.train[sample.record])
    room = (mask.shape[0] - 192) // 8
    left, top = (round(share * room) * 8 for share in sample.crop)
    return mask[top : top + 192, left : left + 192]
