"""The folder of a run.

    config.toml      the whole configuration        checkpoints/   what a killed run goes on from
    manifest.json    data, splits, versions         samples/       generated frames of each validation
    log.jsonl        one line for each step         report.md      for a reader, with loss.png
    validation.jsonl one line for each validation   adapter*.safetensors   what the host loads

`manifest.json` names patients; nothing that is exported does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..ccm.documented import load_toml
from ..ccm.errors import TrainingError
from .checkpoint import Checkpoints, replace_durably
from .config import TrainConfig, to_tables, to_toml

CONFIG, MANIFEST = "config.toml", "manifest.json"
LOG, VALIDATION = "log.jsonl", "validation.jsonl"
MAY_CHANGE = (  # of a run that goes on: nothing here changes a number
    "data.path",
    "memory.checkpointing",
    "memory.offload_blocks",
    "checkpoint.every",
    "checkpoint.keep_last",
    "run.folder",
    "run.device",
    "run.tensorboard",
    "run.licence",
)


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path, keep_last: int) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints", keep_last)
        self.samples = path / "samples"

    def prepare(self, config: TrainConfig, resume: bool) -> None:
        """Start a new run, or check that the run that is here can go on with this configuration.

        Raises TrainingError where a run is in the way, or where a key has another value than it had.
        """
        old = self.path / CONFIG
        begun = bool(self.checkpoints.steps())
        if begun and not resume:
            raise TrainingError(
                f"{self.path} holds a run already", fix="go on with --resume, or choose another run.folder"
            )
        if begun:
            check_unchanged(load_toml(old.read_text("utf-8")), to_tables(config), self.path, MAY_CHANGE)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / MANIFEST).unlink(missing_ok=True)
        replace_durably(old, to_toml(config).encode())

    def record_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest of a new run. Raises TrainingError if the data are not those the run began with."""
        known = self.manifest()
        if known and known["data"] != json.loads(json.dumps(manifest["data"])):
            raise TrainingError(
                f"The data set has changed since the run in {self.path} began",
                fix="put it back as it was, or choose another run.folder",
            )
        if not known:
            replace_durably(self.path / MANIFEST, json.dumps(manifest, indent=1).encode())

    def manifest(self) -> dict[str, Any]:
        """The manifest; empty before it is written."""
        path = self.path / MANIFEST
        return json.loads(path.read_text("utf-8")) if path.exists() else {}

    def append(self, name: str, line: Mapping[str, Any]) -> None:
        """Add one JSON line to a log."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """All lines of a log; the last one is left out if a kill cut it short."""
        path = self.path / name
        return list(_parsed(path)) if path.exists() else []

    def forget_after(self, step: int) -> None:
        """Drop log lines of steps that a resumed run will do again."""
        for name in (LOG, VALIDATION):
            kept = [json.dumps(line) + "\n" for line in self.lines(name) if line["step"] <= step]
            if kept or (self.path / name).exists():
                replace_durably(self.path / name, "".join(kept).encode())


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def check_unchanged(
    old: Mapping[str, Any], new: Mapping[str, Any], folder: Path, may_change: Collection[str]
) -> None:
    """Raise TrainingError naming the first key, but for those that may, whose value differs between the tables."""
    for table in {**old, **new}:
        before, after = old.get(table, {}), new.get(table, {})
        for key in {**before, **after}:
            name = f"{table}.{key}"
            if before.get(key) != after.get(key) and name not in may_change:
                raise TrainingError(
                    f"{name} is {after.get(key)!r}, and the run in {folder} began with {before.get(key)!r}",
                    fix="change it back, or choose another run.folder",
                )
