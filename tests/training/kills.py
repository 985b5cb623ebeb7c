"""Runs in processes of their own that are killed at random moments and resumed until they get to their end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from ccm_pack.training.checkpoint import UNFINISHED, Checkpoints
from ccm_pack.training.config import TrainConfig, to_toml

SERVER = Path(__file__).with_name("run_server.py")
LONGEST_S = 600


class Remote:
    """One run in a process of its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; returns whether the process has ended."""
        return self.wait_for(lambda: False, seconds)

    def wait_for(self, sight: Callable[[], bool], seconds: float) -> bool:
        """Wait so long at most, or until something is in sight; returns whether the process has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not sight():
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.002)
        return False


class Server:
    """Starts runs without importing PyTorch each time."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._requests, self._answers = requests, answers

    def start(self, config: TrainConfig, *, resume: bool) -> Remote:
        file = Path(config.run.folder).with_suffix(".toml")
        file.parent.mkdir(exist_ok=True)
        file.write_text(to_toml(config), "utf-8")
        self._requests.write(f"{file} {int(resume)}\n")
        self._requests.flush()
        return Remote(int(self._answers.readline()))


def start_server(trains: str) -> Iterator[Server]:
    """Serve runs of "small_problem" or "trainer", see run_server.py."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    command = [sys.executable, str(SERVER), trains]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        yield Server(process.stdin, process.stdout)
        process.stdin.close()


class Killed:
    """Counts the runs that were brought to their end, the kills on the way, and those in the middle of a save."""

    def __init__(self, server: Server, rng: random.Random) -> None:
        self._server, self._rng = server, rng
        self.runs = self.kills = self.in_saves = 0

    def until_done(self, config: TrainConfig) -> None:
        """Kill a run and resume it again and again; each time, its newest checkpoint must be whole."""
        checkpoints, resume = Checkpoints(Path(config.run.folder) / "checkpoints", 2), False
        while not self._ended_before_kill(config, checkpoints, resume):
            self.kills, resume = self.kills + 1, True
            self.in_saves += _is_saving(checkpoints)
            if checkpoints.steps():
                checkpoints.load(checkpoints.steps()[-1])  # raises if it is damaged
        self.runs += 1

    def _ended_before_kill(self, config: TrainConfig, checkpoints: Checkpoints, resume: bool) -> bool:
        """Kill some steps after the start, a random part of a step later or as soon as something is being saved."""
        log = Path(config.run.folder) / "log.jsonl"
        rng, began, step_s = self._rng, time.monotonic(), 0.05
        remote = self._server.start(config, resume=resume)
        for _ in range(rng.randrange(5)):
            size = _size(log)
            if remote.wait_for(lambda size=size: _size(log) > size, LONGEST_S):
                return True
            step_s, began = time.monotonic() - began, time.monotonic()
        if rng.random() < 0.5:
            ended = remote.wait(rng.random() * step_s)
        else:
            ended = remote.wait_for(lambda: _is_saving(checkpoints), LONGEST_S)
        if ended:
            return True
        remote.send(signal.SIGKILL)
        assert remote.wait(LONGEST_S)
        return False


def _is_saving(checkpoints: Checkpoints) -> bool:
    return any(checkpoints.folder.glob(f"{UNFINISHED}*"))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
