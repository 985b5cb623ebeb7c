"""What becomes of the outcomes: files, lines of the manifest, and a word on how far the run is."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..ccm.dataset.folder import DatasetFolder
from ..ccm.dataset.manifest import REJECTED
from ..ccm.errors import DataError
from .making import Outcome
from .plan import Plan

QUIET_SECONDS = 30.0  # between two lines in a log


class Progress:
    """Counts per cohort, with an estimate of the end: one line of a terminal, or a line of a log now and then."""

    def __init__(self, plan: Plan, done: Mapping[str, int], left_out: int) -> None:
        self._wanted = {name: cohort.count for name, cohort in plan.cohorts.items()}
        self.done = Counter(done)
        self.worked_s = 0.0  # of all servers together
        self.left_out = left_out
        self.rejected = 0
        self._before = sum(self.done.values())
        self._live = sys.stdout.isatty()
        self.begin()

    def add(self, outcome: Outcome) -> None:
        """Count an outcome and show it."""
        self.rejected += sum(row["status"] == REJECTED for row in outcome.rows)
        self.worked_s += sum(told.get("seconds", 0.0) for told in (*outcome.rows, outcome.told))
        if outcome.pictures:
            self.done[outcome.item.place.cohort] += 1
        else:
            self.left_out += 1
        now = time.monotonic()
        if self._live or now - self._said >= QUIET_SECONDS:
            self._said = now
            print(
                f"\r{self.text():<110}" if self._live else self.text(),
                end="" if self._live else "\n",
                flush=True,
            )

    @property
    def elapsed_s(self) -> float:
        """Since the first item was handed out."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Count the time from now on."""
        self._began = self._said = time.monotonic()

    def text(self) -> str:
        """How many of each cohort, how many rejected or left out, how fast, and how long it will take."""
        cohorts = "  ".join(f"{name} {self.done[name]}/{count}" for name, count in self._wanted.items())
        made = sum(self.done.values()) - self._before
        left = sum(self._wanted.values()) - sum(self.done.values()) - self.left_out
        pace = self.elapsed_s / max(1, made)
        minutes = round(pace * left / 60)
        eta = f"  {pace:.2f} s each, {minutes // 60}:{minutes % 60:02} h to go" if made else ""
        return f"  {cohorts}  rejected {self.rejected}, left out {self.left_out}{eta}"

    def close(self) -> None:
        """End the line of a terminal."""
        if self._live:
            print()


class Recorder:
    """Writes every outcome, the pictures first and then their line; `told` is what each server is."""

    def __init__(
        self, folder: DatasetFolder, told: Mapping[str, Mapping[str, Any]], progress: Progress
    ) -> None:
        self._folder = folder
        self._told = told
        self._progress = progress

    def __call__(self, outcome: Outcome) -> None:
        """Write an outcome; raises DataError where the disk is full or cannot be written."""
        rows = list(outcome.rows)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            if outcome.pictures is not None:
                told = {**outcome.told, **self._told[outcome.told["server"]], "made": now}
                rows.append(self._folder.save(outcome.item.place, outcome.pictures, told))
            self._folder.manifest.append(rows)
        except OSError as error:
            raise DataError(
                f"{self._folder.root} cannot be written any more ({error.strerror})",
                fix="make room or mend the folder, and repeat the command: what is made is kept",
            ) from error
        self._progress.add(outcome)
