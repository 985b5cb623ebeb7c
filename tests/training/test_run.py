"""Runs that are stopped, killed and damaged end like one that is not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.checkpoint import Checkpoint, Checkpoints
from ccm_pack.training.config import TrainConfig, to_toml
from small_problem import SmallProblem, final_hash, small_config, small_run

HERE = Path(__file__).parent


def log_steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_writes_its_first_and_last_checkpoints_and_every_step_into_its_log(tmp_path):
    config = small_config(tmp_path / "run")
    assert small_run(config).finish()
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == [
        "step_00000009",
        "step_00000012",
    ]
    assert log_steps(tmp_path / "run") == list(range(1, 13))


def test_the_same_seed_twice_gives_the_same_hashes(tmp_path):
    a, b = (small_config(tmp_path / name, optimizer={"ema_decay": 0.9}) for name in "ab")
    for config in (a, b):
        small_run(config).finish()
    assert final_hash(a) == final_hash(b)


class Stopping(SmallProblem):
    """Sends the own process a signal in the middle of a step's accumulation."""

    def losses(self, positions):
        if positions[0] == 18:
            os.kill(os.getpid(), signal.SIGINT)
        return super().losses(positions)


def test_ctrl_c_in_a_step_ends_after_that_step_with_a_checkpoint_and_resumes_bit_exactly(tmp_path):
    whole, stopped = (small_config(tmp_path / name) for name in ("whole", "stopped"))
    small_run(whole).finish()
    before = signal.getsignal(signal.SIGINT)
    assert not small_run(stopped, problem=Stopping()).finish()
    assert signal.getsignal(signal.SIGINT) is before
    assert log_steps(tmp_path / "stopped") == [1, 2, 3, 4, 5]  # positions 16 to 19 are step 5
    assert (tmp_path / "stopped/checkpoints/step_00000005").is_dir()
    assert small_run(stopped, resume=True).finish()
    assert final_hash(whole) == final_hash(stopped)
    assert log_steps(tmp_path / "stopped") == list(range(1, 13))


def test_the_best_checkpoint_is_kept_and_survives_a_resume(tmp_path):
    config = small_config(
        tmp_path / "run",
        validation={"every": 2, "criterion": "max f1"},
        checkpoint={"every": 1, "keep_last": 1},
    )
    scores = {2: 0.1, 4: 0.7, 6: 0.3, 8: 0.7, 10: 0.2, 12: 0.0}
    run = small_run(config, validate=lambda step: {"f1": scores[step]})
    run.finish()
    assert run.standing.best_step == 4
    assert run.folder.checkpoints.steps() == [4, 12]
    again = small_run(config, resume=True, validate=lambda step: {"f1": scores[step]})
    assert again.standing == run.standing and again.loop.step == 12


def test_validation_sees_the_averaged_adapter(tmp_path):
    config = small_config(tmp_path / "run", optimizer={"ema_decay": 0.99}, validation={"every": 12})
    seen = []

    def validate(step: int) -> dict[str, float]:
        seen.append(run.loop.parameters["a"].equal(run.loop.average.values["a"]))
        return {"adherence_f1": 1.0}

    run = small_run(config, validate=validate)
    run.finish()
    assert seen == [True]


def test_tensorboard_gets_every_step(tmp_path):
    pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = {"folder": str(tmp_path / "run"), "device": "cpu", "tensorboard": True}
    small_run(small_config(tmp_path / "run", run=run)).finish()
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == list(range(1, 13))


def test_without_tensorboard_the_run_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = {"folder": str(tmp_path / "run"), "device": "cpu", "tensorboard": True}
    with pytest.raises(TrainingError, match="pip install tensorboard"):
        small_run(small_config(tmp_path / "run", run=run)).finish()


def test_a_criterion_that_validation_does_not_give_is_named(tmp_path):
    config = small_config(tmp_path / "run", validation={"every": 2, "criterion": "max f2"})
    with pytest.raises(TrainingError, match="validation gives f1, mmd"):
        small_run(config, validate=lambda step: {"f1": 1.0, "mmd": 0.0}).finish()


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    config = small_config(tmp_path / "run")
    small_run(config).finish()
    with pytest.raises(TrainingError, match="holds a run already. Fix: go on with --resume"):
        small_run(config)


def test_a_run_goes_on_only_with_what_changes_no_number(tmp_path):
    small_run(small_config(tmp_path / "run")).finish()
    small_run(small_config(tmp_path / "run", memory={"autocast": "off", "checkpointing": True}), resume=True)
    with pytest.raises(TrainingError, match=r"run\.seed is 5, and the run in .* began with 0"):
        small_run(
            small_config(tmp_path / "run", run={"folder": str(tmp_path / "run"), "seed": 5}), resume=True
        )


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, caplog):
    whole, config = (small_config(tmp_path / name) for name in ("whole", "run"))
    for each in (whole, config):
        small_run(each).finish()
    file = tmp_path / "run/checkpoints/step_00000012/state.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\1\2\3\4")
    run = small_run(config, resume=True)
    assert run.loop.step == 9 and "step_00000012 is damaged (its bytes have changed)" in caplog.text
    (tmp_path / "run/checkpoints/step_00000012").rename(tmp_path / "away")
    run.finish()
    assert final_hash(config) == final_hash(whole)


def test_no_readable_checkpoint_is_an_error(tmp_path):
    small_run(small_config(tmp_path / "run")).finish()
    for file in (tmp_path / "run/checkpoints").glob("*/state.json"):
        file.write_text("{")
    with pytest.raises(TrainingError, match="None of the 2 checkpoints"):
        small_run(small_config(tmp_path / "run"), resume=True)


def test_what_a_kill_leaves_half_written_is_no_checkpoint_and_is_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    (tmp_path / ".unfinished_step_00000001").mkdir()
    assert checkpoints.steps() == [] and checkpoints.latest() is None
    checkpoints.save(Checkpoint(1, {}, {}), None)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    command = [sys.executable, str(HERE / "run_server.py")]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


class Remote:
    """One run in a process of its own."""

    def __init__(self, server: subprocess.Popen[str], config: TrainConfig, resume: bool) -> None:
        file = Path(config.run.folder).with_suffix(".toml")
        file.write_text(to_toml(config), "utf-8")
        server.stdin.write(f"{file} {int(resume)}\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; returns whether the process has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.002)
        return False


def kill_until(server, tmp_path: Path, kills: int, seed: int) -> None:
    """Kill runs at random moments; each that gets to its end must end like one that was left alone."""
    options = {"optimizer": {"steps": 30, "ema_decay": 0.9}, "checkpoint": {"every": 1, "keep_last": 2}}
    whole = small_config(tmp_path / "whole", **options)
    small_run(whole).finish()
    expected, rng, done, turn = final_hash(whole), random.Random(seed), 0, 0
    while done < kills:
        config, resume = small_config(tmp_path / f"killed_{turn}", **options), False
        while not ended_before_kill(Remote(server, config, resume), Path(config.run.folder), rng):
            done += 1
            checkpoints = Checkpoints(Path(config.run.folder) / "checkpoints", 2)
            if checkpoints.steps():
                checkpoints.load(checkpoints.steps()[-1])  # raises if it is damaged
            resume = True
        assert final_hash(config) == expected
        turn += 1


def ended_before_kill(remote: Remote, folder: Path, rng: random.Random) -> bool:
    """Kill a run some random steps and a random part of a step after its start, unless it ends before."""
    log = folder / "log.jsonl"
    steps, part, began, seen, step_s = rng.randrange(5), rng.random(), time.monotonic(), 0, 0.05
    size = log.stat().st_size if log.exists() else 0
    while seen < steps:
        if remote.wait(0.002):
            return True
        if log.exists() and log.stat().st_size > size:
            size, seen, step_s, began = (
                log.stat().st_size,
                seen + 1,
                time.monotonic() - began,
                time.monotonic(),
            )
    if remote.wait(part * step_s):
        return True
    remote.send(signal.SIGKILL)
    assert remote.wait(60)
    return False


def test_a_run_killed_at_random_moments_ends_with_the_same_hashes(server, tmp_path):
    kill_until(server, tmp_path, kills=30, seed=0)


@pytest.mark.soak
def test_a_run_killed_hundreds_of_times_ends_with_the_same_hashes(server, tmp_path):
    kill_until(server, tmp_path, kills=500, seed=1)


def test_a_second_ctrl_c_ends_the_run_at_once(server, tmp_path):
    config = small_config(tmp_path / "run", optimizer={"steps": 10**6, "warmup_steps": 0})
    remote = Remote(server, config, False)
    assert not remote.wait(1)
    while not (tmp_path / "run/log.jsonl").exists():
        assert not remote.wait(0.1)
    remote.send(signal.SIGINT)
    remote.send(signal.SIGINT)
    assert remote.wait(30)
    small_run(config, resume=True)  # a checkpoint is there
