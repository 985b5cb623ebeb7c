"""The results of a study as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arms import Arm
from .compare import Difference, Results, TestedPatients, values
from .config import FEWEST_SEEDS, UtilityConfig
from .endpoints import TITLES

NO_NUMBER = "-"


@dataclass(frozen=True)
class Facts:
    """What the results hold for: the configuration, and how many frames and patients there are."""

    config: UtilityConfig
    frames: Mapping[str, int]  # train, test, synthetic
    patients: Mapping[str, int]  # train, test
    unknown_sources: int

    @property
    def is_try(self) -> bool:
        return self.config.run.seeds < FEWEST_SEEDS


def as_text(facts: Facts, results: Results, tested: TestedPatients, differences: Sequence[Difference]) -> str:
    """Return both tables, below the facts that they hold for and above what they do not say."""
    found = values(results, tested)
    names = list(found[Arm.REAL])
    means = [["mean over seeds", *map(str, Arm)]]
    means += [[TITLES[name], *(f"{np.mean(found[arm][name]):.3f}" for arm in Arm)] for name in names]
    gains = [["difference", "", "", "95 % interval", "a gain is", "patients for 80 % power"]]
    gains += [_row(difference) for difference in differences]
    lines = [*_head(facts), "", *_aligned(means), "", *_aligned(gains), "", *_notes(facts, differences)]
    return "\n".join(lines) + "\n"


def as_json(
    facts: Facts, results: Results, tested: TestedPatients, differences: Sequence[Difference]
) -> dict[str, Any]:
    """Return everything as JSON values; no name of a patient is in it."""
    arms = [
        {"arm": str(arm), "means": {name: float(np.mean(v)) for name, v in found.items()}, "by_seed": found}
        for arm, found in values(results, tested).items()
    ]
    return {
        "arms": arms,
        "differences": [_as_row(difference) for difference in differences],
        "endpoints": {name: TITLES[name] for name in arms[0]["means"]},
        "seeds": list(facts.config.seeds),
        "try": facts.is_try,
        "patients": dict(facts.patients),
        "frames": dict(facts.frames),
        "synthetic_frames_of_unknown_source": facts.unknown_sources,
        "labels_shuffled": facts.config.data.shuffle_labels,
        "training": facts.config.tables()["training"],
        "notes": _notes(facts, differences),
    }


def _as_row(found: Difference) -> dict[str, Any]:
    return {
        "endpoint": found.endpoint,
        "arm": str(found.arm),
        "against": str(found.against),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "verdict": found.verdict,
        "worse": found.worse,
        "patients_for_80_percent_power": found.patients_needed,
        "share_of_variance_between_seeds": found.seed_share,
    }


def _head(facts: Facts) -> list[str]:
    config, frames, patients = facts.config, facts.frames, facts.patients
    training = config.training
    each = {
        "segmentation": f"{training.steps} steps of {training.batch} crops for segmentation",
        "classification": f"{training.classifier_steps} steps of {training.classifier_batch} frames for the cohort",
    }
    return [
        f"Real: {frames['train']} frames of {patients['train']} patients to train on, {frames['test']} frames of "
        f"{patients['test']} other patients to test on. Synthetic: {frames['synthetic']} frames.",
        f"Every arm: {', '.join(each[task] for task in training.tasks)}; "
        f"seeds {config.seeds[0]} to {config.seeds[-1]}.",
    ]


def _row(found: Difference) -> list[str]:
    verdict = found.verdict + (" (a loss is)" if found.worse else "")
    return [
        TITLES[found.endpoint],
        f"{found.arm} - {found.against}",
        f"{found.difference:+.3f}",
        f"{found.low:+.3f} to {found.high:+.3f}",
        verdict,
        _needed(found),
    ]


def _needed(found: Difference) -> str:
    if found.patients_needed is not None:
        return f"{found.patients_needed:,}"
    return NO_NUMBER if found.difference <= 0.0 else "more seeds"


def _notes(facts: Facts, differences: Sequence[Difference]) -> list[str]:
    notes = [
        "An interval covers other test patients and other seeds, with these training patients and synthetic frames. "
        '"Not shown" does not mean that there is no gain.',
        f"There are {len(differences)} intervals: without any gain, one in 40 would still lie above 0. Name the one "
        "that counts beforehand.",
        "Patients for 80 % power: so many test patients, with as many seeds, would show a gain as large as this one; "
        "for planning only.",
    ]
    if facts.unknown_sources:
        notes.append(
            f"{facts.unknown_sources} synthetic frames do not say whose mask they show (source_patient). None is "
            "a copy of a test frame or of its mask; whether the generator was trained on test patients cannot be seen."
        )
    if facts.config.data.shuffle_labels:
        notes.append("Negative control: masks and cohorts of the synthetic frames were dealt to one another.")
    if facts.is_try:
        notes.append(f"A try with {facts.config.run.seeds} seeds: no claim can rest on it.")
    return notes


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
