"""A study from its first training, or from where it was stopped, to its table.

config.toml      the whole configuration             utility.txt    for a reader
manifest.json    data, split with patients, versions utility.json   everything in it, no patient's name
trials/          what each trained network says of each test frame, one file for each arm and seed
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...ccm.documented import dump_toml, load_toml
from ...ccm.errors import TrainingError
from ...ccm.parallel import map_processes
from ..checkpoint import replace_durably
from ..export import versions
from ..folder import CONFIG, MANIFEST, check_unchanged
from .arms import Arm
from .compare import by_stratum, compare
from .config import UtilityConfig
from .data import COHORTS, StudyData, load_study
from .leaks import refuse_leaks, unknown_sources
from .report import Facts, as_json, as_text
from .trial import Verdicts, run_trial

TRIALS = "trials"
MAY_CHANGE = ("data.real", "data.synthetic", "run.folder", "run.seeds", "run.resamples")
Trial = tuple[Arm, int]


def study(config: UtilityConfig, workers: int | None = None) -> str:
    """Train what is left, write the results into run.folder, and return them as text.

    Raises DataError for synthetic frames that go back to test patients, and TrainingError for a folder that another
    study began.
    """
    data = load_study(config)
    refuse_leaks(data.synthetic, data.test)
    tested = by_stratum(data.test.patients, data.test.cohorts)
    folder = Path(config.run.folder)
    _begin(folder, config, data)
    _train(folder, config, workers)
    results = {arm: [_read(folder, (arm, seed)) for seed in config.seeds] for arm in Arm}
    differences = compare(results, tested, config.run.resamples, config.run.seed)
    facts = _facts(config, data)
    text = as_text(facts, results, tested, differences)
    found = as_json(facts, results, tested, differences)
    replace_durably(folder / "utility.txt", text.encode())
    replace_durably(folder / "utility.json", json.dumps(found, indent=1, allow_nan=False).encode())
    return text


def _begin(folder: Path, config: UtilityConfig, data: StudyData) -> None:
    """Write configuration and manifest of a new study; refuse a folder where another one began."""
    (folder / TRIALS).mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        check_unchanged(load_toml((folder / CONFIG).read_text("utf-8")), config.tables(), folder, MAY_CHANGE)
        if json.loads((folder / MANIFEST).read_text("utf-8"))["data"]["sha256"] != data.hash:
            raise TrainingError(
                f"The frames have changed since the study in {folder} began",
                fix="put them back as they were, or choose another run.folder",
            )
    sets = {"train": data.train, "test": data.test}
    manifest = {
        "data": {
            "sha256": data.hash,
            "patients": {name: sorted(set(frames.patients)) for name, frames in sets.items()},
            "frames": {name: [str(r.frame) for r in frames.records] for name, frames in sets.items()},
            "synthetic_frames": [str(r.frame) for r in data.synthetic.records],
        },
        "versions": versions(),
    }
    replace_durably(folder / CONFIG, dump_toml(config.tables()).encode())
    replace_durably(folder / MANIFEST, json.dumps(manifest, indent=1).encode())


def _train(folder: Path, config: UtilityConfig, workers: int | None) -> None:
    from tqdm import tqdm

    trials = [(arm, seed) for seed in config.seeds for arm in Arm]
    missing = [trial for trial in trials if not _file(folder, trial).is_file()]
    made = map_processes(partial(_run, folder, config), missing, workers)
    with closing(made), tqdm(total=len(trials), initial=len(trials) - len(missing), unit="training") as bar:
        try:
            for arm, seed in made:
                bar.set_postfix_str(f"{arm}, seed {seed}", refresh=False)
                bar.update()
        except KeyboardInterrupt:
            bar.write("Stopping after the trainings under way.", file=sys.stderr)
            raise


def _run(folder: Path, config: UtilityConfig, trial: Trial) -> Trial:
    arm, seed = trial
    verdicts = run_trial(arm, seed, config, _data(config))
    told = {name: values.tolist() for name, values in vars(verdicts).items()}
    replace_durably(_file(folder, trial), json.dumps({"arm": arm.value, "seed": seed, **told}).encode())
    return trial


@lru_cache(maxsize=1)
def _data(config: UtilityConfig) -> StudyData:
    """The frames, read once by each process."""
    return load_study(config)


def _read(folder: Path, trial: Trial) -> Verdicts:
    told: Mapping[str, Any] = json.loads(_file(folder, trial).read_text("utf-8"))
    return Verdicts(
        np.array(told["f1"]), np.array(told["iou"]), np.array(told["cohorts"]).reshape(-1, len(COHORTS))
    )


def _file(folder: Path, trial: Trial) -> Path:
    arm, seed = trial
    return folder / TRIALS / f"{arm.name.lower()}_seed{seed}.json"


def _facts(config: UtilityConfig, data: StudyData) -> Facts:
    return Facts(
        config=config,
        frames={"train": len(data.train), "test": len(data.test), "synthetic": len(data.synthetic)},
        patients={"train": len(set(data.train.patients)), "test": len(set(data.test.patients))},
        unknown_sources=unknown_sources(data.synthetic),
    )
