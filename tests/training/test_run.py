"""Runs that are stopped, killed and damaged end like one that is not."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.checkpoint import Checkpoint, Checkpoints
from kills import Killed, Server, start_server
from small_problem import SmallProblem, final_hash, small_config, small_run


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
def server() -> Iterator[Server]:
    yield from start_server("small_problem")


OFTEN = {"optimizer": {"steps": 30, "ema_decay": 0.9}, "checkpoint": {"every": 1, "keep_last": 2}}


@pytest.mark.parametrize("kills", [30, pytest.param(500, marks=pytest.mark.soak)])
def test_a_run_killed_at_random_moments_ends_with_the_same_hashes(server, tmp_path, kills):
    whole = small_config(tmp_path / "whole/run", **OFTEN)
    small_run(whole).finish()
    killed = Killed(server, random.Random(kills))
    while killed.kills < kills:
        config = small_config(tmp_path / f"{killed.runs}/run", **OFTEN)
        killed.until_done(config)
        assert final_hash(config) == final_hash(whole)
    assert killed.in_saves >= kills / 6


def test_a_second_ctrl_c_ends_the_run_at_once(server, tmp_path):
    config = small_config(tmp_path / "run", optimizer={"steps": 10**6, "warmup_steps": 0})
    remote = server.start(config, resume=False)
    assert not remote.wait(1)
    while not (tmp_path / "run/log.jsonl").exists():
        assert not remote.wait(0.1)
    remote.send(signal.SIGINT)
    remote.send(signal.SIGINT)
    assert remote.wait(30)
    small_run(config, resume=True)  # a checkpoint is there
