"""Two CPU processes as `accelerate launch` starts them, against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ccm_pack.training.config import to_toml
from ccm_pack.training.processes import Processes
from safetensors.torch import load_file
from small_problem import small_config, small_run

HERE = Path(__file__).parent


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_position_belongs_to_one_process(count):
    shares = [Processes(torch.device("cpu"), index, count).share(range(12, 24)) for index in range(count)]
    assert [k for share in shares for k in share] == list(range(12, 24))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_two_processes_train_what_one_does_and_keep_the_smaller_micro_batch(tmp_path):
    """Memory runs out in the second one, which halves its micro-batch; the main one writes the checkpoints."""
    optimizer = {"steps": 6, "batch": 2, "accumulation": 2, "ema_decay": 0.9, "warmup_steps": 3}
    one, two = (small_config(tmp_path / name, optimizer=optimizer) for name in ("one", "two"))
    small_run(one).finish()
    (tmp_path / "two.toml").write_text(to_toml(two), "utf-8")
    environ = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launch = [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ]
    command = [sys.executable, *launch, str(HERE / "run_in_process.py"), str(tmp_path / "two.toml"), "1"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    a, b = (
        load_file(tmp_path / name / "checkpoints/step_00000006/state.safetensors") for name in ("one", "two")
    )
    assert a.keys() == b.keys()
    assert all(torch.allclose(a[k], b[k], atol=1e-5) for k in a)
    assert len((tmp_path / "two/log.jsonl").read_text().splitlines()) == 6
    numbers = json.loads((tmp_path / "two/checkpoints/step_00000003/state.json").read_text())
    assert numbers["micro_batch"] == 1
