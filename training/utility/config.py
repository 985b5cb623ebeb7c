"""The configuration of a utility study: what every key means, its default, and what it may be."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ...ccm.documented import Reader, key, read_tables, typed
from ...ccm.errors import TrainingError

FEWEST_SEEDS = 5
MULTIPLE = 4  # the segmentation network halves the frame twice
Task = Literal["segmentation", "classification"]


@dataclass(frozen=True)
class UtilityData:
    """Real and synthetic frames."""

    real: str = key("folder or table of real frames with patients; relative to the configuration file")
    synthetic: str = key(
        "folder or table of synthetic frames; column source_patient tells whose mask each shows"
    )
    test_share: float | None = key(
        "share of the patients of each cohort to test on, dealt from run.seed; without it, as the column split says",
        None,
        0.05,
        0.95,
    )
    um_per_px: float = key("every frame is resampled to this pixel size", 3.125, 0.1, 20)
    side_px: int = key(
        f"and cut to its central square of so many pixels, a multiple of {MULTIPLE}", 128, 32, 1024
    )
    shuffle_labels: bool = key(
        "negative control: deal masks and cohorts of the synthetic frames to one another; nothing may be shown",
        False,
    )


@dataclass(frozen=True)
class UtilityTraining:
    """How each network of each arm is trained; every arm gets the same."""

    tasks: tuple[Task, ...] = key("segmentation, classification", ("segmentation", "classification"))
    steps: int = key("optimizer steps of the segmentation network in each arm", 150, 1)
    batch: int = key("crops of one step", 8, 2)
    crop_px: int = key(
        f"side of the random crops that segmentation is trained on, a multiple of {MULTIPLE}", 64, 32
    )
    learning_rate: float = key("highest learning rate, reached after a tenth of the steps", 4e-3, 1e-6, 1)
    classifier_steps: int = key("optimizer steps of the classifier in each arm", 150, 1)
    classifier_batch: int = key("whole frames of one step", 16, 2)
    synthetic_share: float = key(
        "share of synthetic frames in a batch of the arm real + synthetic", 0.5, 0.05, 0.95
    )
    tolerance_um: float = key("centre-lines at most this far apart agree", 6.25, 0.1, 100)


@dataclass(frozen=True)
class UtilityRun:
    """Where and how it runs."""

    folder: str = key("folder of the run; relative to where the command is typed")
    seeds: int = key(
        f"trainings of each arm; fewer than {FEWEST_SEEDS} only with --try", FEWEST_SEEDS, 2, 1000
    )
    seed: int = key("the first seed; also fixes how patients are dealt", 0, 0, 2**31)
    resamples: int = key("of the bootstrap over patients and seeds", 1000, 200, 1_000_000)


@dataclass(frozen=True)
class UtilityConfig:
    """A whole configuration; each field is a TOML table."""

    data: UtilityData
    run: UtilityRun
    training: UtilityTraining = UtilityTraining()

    @property
    def seeds(self) -> range:
        return range(self.run.seed, self.run.seed + self.run.seeds)

    def tables(self) -> dict[str, dict[str, Any]]:
        """Nested tables of JSON values; keys that are not set are left out."""
        tables = json.loads(json.dumps(asdict(self)))
        return {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()}


def read_utility(path: Path, settings: tuple[str, ...] = (), few_seeds: bool = False) -> UtilityConfig:
    """Read a TOML file; each setting "table.key=value" replaces a key. Relative data paths start at the file.

    Raises TrainingError naming the file, the key, and the nearest key that exists; also for fewer than FEWEST_SEEDS
    seeds unless `few_seeds`.
    """
    tables = read_tables(
        path, settings, TrainingError, "copy training/configs/utility/phantoms.toml and edit it"
    )
    config = parse_utility(tables, str(path))
    if config.run.seeds < FEWEST_SEEDS and not few_seeds:
        raise TrainingError(
            f"{path}: run.seeds is {config.run.seeds}; so few trainings cannot tell a gain from their own spread",
            fix=f"set it to {FEWEST_SEEDS} or more, or type --try to see whether everything runs",
        )
    data = config.data
    real, synthetic = (str(path.parent / part) for part in (data.real, data.synthetic))
    return replace(config, data=replace(data, real=real, synthetic=synthetic))


def parse_utility(tables: dict[str, Any], source: str) -> UtilityConfig:
    """Return the checked configuration of nested tables; raises TrainingError naming `source` and the key."""
    reader = Reader(source, TrainingError)
    known = {field.name: kind for field, kind in typed(UtilityConfig)}
    reader.known_only(tables, known, source, "table")
    config = UtilityConfig(
        **{name: reader.section(kind, tables.get(name, {}), name) for name, kind in known.items()}
    )
    for name, value in (("data.side_px", config.data.side_px), ("training.crop_px", config.training.crop_px)):
        if value % MULTIPLE:
            raise TrainingError(f"{source}: {name} is {value}", fix=f"make it a multiple of {MULTIPLE}")
    if config.training.crop_px > config.data.side_px:
        raise TrainingError(
            f"{source}: training.crop_px is {config.training.crop_px}, and frames have {config.data.side_px} pixels",
            fix="make it at most data.side_px",
        )
    if not config.training.tasks:
        raise TrainingError(
            f"{source}: training.tasks is empty", fix="name segmentation, classification or both"
        )
    return config
