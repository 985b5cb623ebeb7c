"""Real runs on the embedded base that are killed at random moments."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))
from kills import Killed, Server, start_server  # noqa: E402
from small_problem import final_hash, small_config  # noqa: E402

KILLS = 30


@pytest.fixture(scope="module")
def server(host: Path) -> Iterator[Server]:
    yield from start_server("trainer")


def nano_run(folder: Path, data: Path) -> Any:
    return small_config(
        folder,
        data={"path": str(data), "crop_px": 64, "flips": False, "control_drop": 0.3},
        adapter={"rank": 4},
        optimizer={"steps": 8, "batch": 1, "accumulation": 2, "warmup_steps": 1, "ema_decay": 0.9},
        memory={"autocast": "bf16"},
        checkpoint={"every": 1, "keep_last": 2},
    )


def exported(config: Any) -> dict[str, list[float]]:
    """The adapter file's numbers; its metadata holds a salt of each run's own."""
    load_file = importlib.import_module("safetensors.torch").load_file
    tensors = load_file(Path(config.run.folder) / "adapter.safetensors")
    return {name: tensor.flatten().tolist() for name, tensor in tensors.items()}


@pytest.mark.soak
def test_a_real_run_killed_at_random_moments_ends_with_the_same_hashes(server, tmp_path):
    phantoms = importlib.import_module("ccm_pack.training.data.phantoms")
    phantoms.write_phantoms(
        phantoms.PhantomRequest(patients=9, frames=1, seed=3), tmp_path / "data", workers=1
    )
    whole = nano_run(tmp_path / "whole/run", tmp_path / "data")
    assert server.start(whole, resume=False).wait(600)
    killed = Killed(server, random.Random(0))
    while killed.kills < KILLS:
        config = nano_run(tmp_path / f"{killed.runs}/run", tmp_path / "data")  # with a cache of its own
        killed.until_done(config)
        assert final_hash(config) == final_hash(whole)
        assert exported(config) == exported(whole)
        print(f"{killed.kills} kills, {killed.in_saves} of them in saves, {killed.runs} runs: same hashes")
    assert killed.in_saves >= KILLS / 6
