"""Checkpoints that a kill at any moment cannot spoil.

A checkpoint is a folder with one safetensors and one JSON file, written under another name, flushed to the disk,
and then renamed, which happens whole or not at all. A folder that is to go is renamed first, too. So a folder
that is called like a checkpoint is one, and once the first is written there is always one to go on from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..ccm.errors import TrainingError

log = logging.getLogger(__name__)

PREFIX = "step_"
UNFINISHED = ".unfinished_"
TENSORS, NUMBERS = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` optimizer steps; `numbers` are JSON values, floats kept to the last bit."""

    step: int
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Checkpoints:
    """The checkpoints in one folder: the last few, and the one that is called best."""

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder, self.keep_last = folder, keep_last

    def steps(self) -> list[int]:
        """The steps of the checkpoints there are, in rising order."""
        found = self.folder.glob(f"{PREFIX}*")
        return sorted(int(path.name.removeprefix(PREFIX)) for path in found)

    def path(self, step: int) -> Path:
        return self.folder / f"{PREFIX}{step:08d}"

    def save(self, checkpoint: Checkpoint, best: int | None) -> Path:
        """Write a checkpoint unless there is one of that step; remove those that are neither recent nor best."""
        from safetensors.torch import save

        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.path(checkpoint.step)
        if not target.exists():
            data = save({name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()})
            numbers = {**checkpoint.numbers, "sha256": hashlib.sha256(data).hexdigest()}
            part = self.folder / f"{UNFINISHED}{target.name}"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            write_durably(part / TENSORS, data)
            write_durably(part / NUMBERS, json.dumps(numbers, indent=1, sort_keys=True).encode())
            flush_folder(part)
            part.rename(target)
            flush_folder(self.folder)
        self._remove({*self.steps()[: -self.keep_last]} - {best, checkpoint.step})
        return target

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that can be read; None where there is none at all.

        Raises TrainingError where there are checkpoints but all of them are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.load(step)
            except TrainingError as error:
                log.warning("%s", error)
        if steps:
            raise TrainingError(
                f"None of the {len(steps)} checkpoints in {self.folder} can be read",
                fix="copy one back from elsewhere, or remove the folder and train again",
            )
        return None

    def load(self, step: int) -> Checkpoint:
        """Read one checkpoint; raises TrainingError if its bytes are not those that were written."""
        from safetensors.torch import load

        path = self.path(step)
        try:
            data = (path / TENSORS).read_bytes()
            numbers = json.loads((path / NUMBERS).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if numbers.pop("sha256", None) != hashlib.sha256(data).hexdigest():
            raise _damaged(path, "its bytes have changed")
        return Checkpoint(step, load(data), numbers)

    def _remove(self, steps: Iterable[int]) -> None:
        for step in steps:
            self.path(step).rename(self.folder / f"{UNFINISHED}{self.path(step).name}.old")
        for rest in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(rest, ignore_errors=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    write_durably(part, data)
    part.replace(path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Wait until renames in the folder are on the disk, on systems that can open folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _damaged(path: Path, why: str) -> TrainingError:
    return TrainingError(f"The checkpoint {path} is damaged ({why})", fix="go on from an earlier one")
