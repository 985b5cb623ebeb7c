"""Similarity of pairs in words and as JSON, beside what mismatched pairs of the same frames score."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from .paired import PairedResult, paired_similarity


@dataclass(frozen=True)
class PairedReport:
    """The pairs, the same frames paired wrongly (None for a single pair), and what the frames were."""

    pairs: PairedResult
    mismatched: PairedResult | None
    identical: int
    constant: int
    height_px: int
    width_px: int


def compare_pairs(reference: np.ndarray, generated: np.ndarray) -> PairedReport:
    """Compare pairs [N,H,W] in 0..1, and as a floor each reference with the generated frame of the next pair."""
    pairs = paired_similarity(reference, generated)
    flat = np.ptp(reference, axis=(1, 2)) == 0.0
    return PairedReport(
        pairs=pairs,
        mismatched=paired_similarity(reference, np.roll(generated, -1, axis=0)) if pairs.n > 1 else None,
        identical=int(np.isinf(pairs.psnr_db).sum()),
        constant=int((flat | (np.ptp(generated, axis=(1, 2)) == 0.0)).sum()),
        height_px=reference.shape[1],
        width_px=reference.shape[2],
    )


def describe(report: PairedReport) -> str:
    """Mean, deviation and worst pair of each measure, with the convention behind it."""
    size = f"{report.width_px} x {report.height_px} px"
    lines = [f"{report.pairs.n} pairs of {size}: mean +- standard deviation (lowest), and mismatched pairs"]
    for name, mine, theirs in _measures(report):
        floor = "" if theirs is None else f"   mismatched {_mean_text(theirs)}"
        lines.append(f"{name:8}{_spread(mine)}{floor}")
    if report.pairs.ms_ssim is None:
        lines.append("MS-SSIM  needs frames of 176 px and more")
    lines.append(f"Convention: {report.pairs.convention}. Other conventions give other numbers.")
    if report.identical:
        lines.append(
            f"{report.identical} pairs are identical: their PSNR is infinite and left out of the mean."
        )
    if report.constant:
        lines.append(f"{report.constant} pairs hold a frame of one grey value: their SSIM says little.")
    lines.append("A pair shares its mask: this measures how a frame is followed, not how real it looks.")
    return "\n".join(lines)


def to_json(report: PairedReport) -> str:
    """Every value of every pair; null where a PSNR is infinite."""
    measures = {name: _finite(mine) for name, mine, _ in _measures(report)}
    mismatched = {name: _finite(theirs) for name, _, theirs in _measures(report) if theirs is not None}
    return json.dumps(
        {
            "pairs": report.pairs.n,
            "convention": report.pairs.convention,
            "width_px": report.width_px,
            "height_px": report.height_px,
            "identical_pairs": report.identical,
            "constant_pairs": report.constant,
            "values": measures,
            "mismatched": mismatched,
        },
        indent=2,
        allow_nan=False,
    )


def _measures(report: PairedReport) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Name, values and mismatched values of each measure that exists at this size."""
    floor = report.mismatched
    found = [
        ("SSIM", report.pairs.ssim, floor.ssim if floor else None),
        ("MS-SSIM", report.pairs.ms_ssim, floor.ms_ssim if floor else None),
        ("PSNR dB", report.pairs.psnr_db, floor.psnr_db if floor else None),
    ]
    return [(name, mine, theirs) for name, mine, theirs in found if mine is not None]


def _spread(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return "infinite"
    deviation = f" +- {known.std(ddof=1):.3f}" if len(known) > 1 else ""
    return f"{known.mean():.3f}{deviation} ({known.min():.3f})"


def _mean_text(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.3f}" if len(known) else "infinite"


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
