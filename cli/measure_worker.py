"""Processes that measure one file after the other; one that dies takes only its own file with it.

A worker is `python . measure --worker`: it reads one task per line from standard input, as JSON, and writes the row of
each to standard output. It ends with its standard input, so none outlives the command that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..host.environment import INSIDE
from ..host.paths import ROOT

if TYPE_CHECKING:
    from ..ccm.measuring import Row, Task
    from ..ccm.segmentation import Network


def serve(network: Network | None) -> int:
    """Measure the tasks on standard input until it ends."""
    import cv2
    import torch

    from ..ccm.measuring import Task, measure_file

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed must not mix with the rows
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for line in sys.stdin:
        told = json.loads(line)
        places = {name: told[name] and Path(told[name]) for name in ("path", "overlay")}
        row = measure_file(Task(**told | places), network)
        print(json.dumps(row), file=answers, flush=True)
    return 0


class Pool:
    """Workers that share the tasks; use it in a `with` statement."""

    def __init__(self, workers: int, options: Sequence[str]) -> None:
        self._workers = [Worker(options) for _ in range(workers)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop()

    def measure(self, tasks: Iterable[Task]) -> Iterator[Row]:
        """Yield the row of every task, in order."""
        return self._threads.map(self._one, tasks)

    def _one(self, task: Task) -> Row:
        worker = self._idle.get()
        try:
            return worker.measure(task)
        finally:
            self._idle.put(worker)


class Worker:
    """One process, started when it is first needed and again after it died."""

    def __init__(self, options: Sequence[str]) -> None:
        self._command = [sys.executable, str(ROOT), "measure", "--worker", *options]
        self._process: subprocess.Popen[str] | None = None

    def measure(self, task: Task) -> Row:
        """Return the task's row, one with an error if the process died of it."""
        from ..ccm.measuring import failed_row

        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(asdict(task), default=str) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; no answer will come
        for line in process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self._process = None
        return failed_row(task, f"the process that measured it ended with status {process.wait()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
            environ = {**os.environ, INSIDE: sys.executable}
            self._process = subprocess.Popen(self._command, env=environ, **pipes)
        return self._process
