"""How far are generated frames from real ones, by two networks and by eye: raw base, plain LoRA, WDLoRA, few steps?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...ccm.errors import ExtractorError
from ...ccm.fidelity.efficientnet import load_efficientnet
from ...ccm.fidelity.features import FeatureExtractor, FeatureSet, extract
from ...ccm.fidelity.mmd import mmd
from ...ccm.frames.reading import read_frame
from ...ccm.morphometry import centre_line_f1
from ...training.ablation_table import Interval, interval
from .adherence import mean, real_files, trace
from .rows import Row
from .scenes import Bench, Shot, look_at
from .studio import FEW_STEPS, STANDARD

SEEDS = 3
ARMS = {"base": None, "lora": "lora", "wdlora": "wdlora"}
PERMUTATIONS = 1  # only the value is used


def fidelity_rows(bench: Bench) -> list[Row]:
    """MMD^2 (x 1000) of each arm, mean over seeds, with few steps; and the WDLoRA arm with standard sampling."""
    files = real_files()
    if not files:
        return [Row("mmd_nerve_wdlora", "MMD to real frames", None, note="CCM_FRAMES names no folder")]
    frames = {
        name: [bench.matched_shots(seed, f"{name}, seed {seed}", FEW_STEPS, adapter) for seed in range(SEEDS)]
        for name, adapter in ARMS.items()
    }
    frames["wdlora_standard"] = _standard(bench)
    rows = []
    for name, extractor in _extractors(bench).items():
        rows += _rows(name, extractor, files, frames)
    return rows


def few_rows(bench: Bench) -> list[Row]:
    """F1 of the few-step setting, and of the standard one on the same masks and seeds."""
    few = [
        s
        for seed in range(SEEDS)
        for s in bench.matched_shots(seed, f"few steps, seed {seed}", FEW_STEPS, "wdlora")
    ]
    standard = [shot for shots in _standard(bench) for shot in shots]
    f1, usual = (
        mean(centre_line_f1(trace(s.frame), s.scene.mask).f1 for s in shots) for shots in (few, standard)
    )
    return [
        Row("few_steps_f1", "centre-line F1", f1, note=str(FEW_STEPS)),
        Row(
            "few_steps_f1_loss",
            "  less than with standard sampling",
            usual - f1,
            "at most",
            0.02,
            note=f"{usual:.4f}",
        ),
    ]


def _standard(bench: Bench) -> list[list[Shot]]:
    return [bench.matched_shots(seed, f"standard, seed {seed}", STANDARD, "wdlora") for seed in range(SEEDS)]


def _extractors(bench: Bench) -> dict[str, FeatureExtractor]:
    found: dict[str, FeatureExtractor] = {"nerve": bench.encoder}
    try:
        found["efficientnet"] = load_efficientnet()
    except ExtractorError as error:
        print(f"Left out: {error}")
    return found


def _rows(
    name: str, extractor: FeatureExtractor, files: list[Path], frames: dict[str, list[list[Shot]]]
) -> list[Row]:
    real = look_at(extractor, [read_frame(file) for file in files], f"{name}: real frames")
    eyes = np.array([file.stem.rpartition("_")[0] for file in files])
    rows, found = [], {}
    for arm, seeds in frames.items():
        sets = [extract(extractor, np.stack([shot.frame.grey for shot in shots])) for shots in seeds]
        found[arm] = _interval(sets, real)
        by_eye = ", ".join(
            f"{eye} {_interval(sets, _part(real, eyes == eye)).mean:.0f}" for eye in np.unique(eyes)
        )
        note = f"{found[arm].low:.0f} to {found[arm].high:.0f}; {by_eye}"
        rows.append(Row(f"mmd_{name}_{arm}", f"MMD x 1000, {name}, {arm}", found[arm].mean, note=note))
    few, usual = found["wdlora"], found["wdlora_standard"]
    return [
        *rows,
        Row(
            f"few_steps_mmd_{name}",
            "  few steps against the upper limit of standard",
            few.mean,
            "at most",
            usual.high,
        ),
    ]


def _interval(sets: list[FeatureSet], real: FeatureSet) -> Interval:
    values = [mmd(one, real, np.random.default_rng(0), PERMUTATIONS).statistics.value for one in sets]
    return interval([1000 * value for value in values])


def _part(features: FeatureSet, where: np.ndarray) -> FeatureSet:
    return FeatureSet(features.values[where], features.extractor)
