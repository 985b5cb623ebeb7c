"""A fidelity report in words, each number beside what it was measured with and how far it can be trusted."""

from __future__ import annotations

import json
from dataclasses import asdict

from .compare import FidelityReport
from .frechet import FrechetFloor, FrechetResult
from .mmd import MMDResult

SIGNIFICANCE = 0.05


def to_json(report: FidelityReport) -> str:
    """Every field of the report as JSON."""
    return json.dumps(asdict(report), indent=2, allow_nan=False)


def describe(report: FidelityReport) -> str:
    """The report as text: both distances, the floor, and what stands in the way of believing them."""
    parts = (
        f"{report.generated.frames} generated frames against {report.reference.frames} reference, unpaired\n"
        f"Features: {report.mmd.dimension} of {report.mmd.extractor}",
        _mmd(report.mmd, report.seed),
        _frechet(report.frechet, report.floor),
        _caveats(report),
    )
    return "\n\n".join(parts)


def _mmd(result: MMDResult, seed: int) -> str:
    found = result.statistics
    interval = "not valid this close to zero or below 40 frames a side; go by p"
    if found.interval is not None:
        interval = " to ".join(f"{1e3 * bound:.2f}" for bound in found.interval)
    verdict = "No difference shown, which does not show that there is none."
    if found.p_value <= SIGNIFICANCE:
        verdict = "The sets differ."
    return "\n".join(
        (
            f"MMD^2 (unbiased) x 1000: {1e3 * found.value:.2f}, permutation p = {found.p_value:.3g}",
            f"  {verdict}",
            f"  95 % interval: {interval}",
            f"  kernel: {result.kernel}; {found.permutations} permutations of frames, seed {seed}",
        )
    )


def _frechet(result: FrechetResult, floor: FrechetFloor | None) -> str:
    lines = [f"Frechet distance: {result.distance:.4g} at N = {result.n_a} reference, {result.n_b} generated"]
    if floor is None:
        lines.append("  floor: none, halving the reference set takes 4 of its frames")
        lines.append("  Mostly sampling bias at so few frames.")
    else:
        lines += [
            f"  at {floor.n} frames a side, mean (range) over {floor.splits} random halvings:",
            f"    floor, reference against reference: {_spread(floor.real_real, floor.real_real_range)}",
            f"    generated against reference: {_spread(floor.real_generated, floor.real_generated_range)}",
            f"  {_judge(floor)}",
        ]
    lines.append("  The bias depends on N and on the extractor: never compare across either.")
    return "\n".join(lines)


def _judge(floor: FrechetFloor) -> str:
    lowest, highest = floor.real_real_range
    if floor.real_generated < lowest:
        return "Generated frames score below the floor: copies or paired frames do that, better ones cannot."
    if floor.real_generated <= highest:
        return "Generated frames score within the range of the floor: nothing here but sampling bias."
    share = floor.real_real / floor.real_generated
    mostly = "Mostly sampling bias" if share > 0.5 else "Sampling bias"
    return f"{mostly}: reference against itself already scores {share:.0%} of that."


def _spread(mean: float, limits: tuple[float, float]) -> str:
    return f"{mean:.4g} ({limits[0]:.4g} to {limits[1]:.4g})"


def _caveats(report: FidelityReport) -> str:
    lines = [
        "Patients are unknown here, so frames count as independent: where a patient gave several frames,",
        "p is too small and the floor too low.",
    ]
    if report.exact_copies:
        lines.append(
            f"{report.exact_copies} generated frames equal a reference frame: copies lower both distances."
        )
    for name, frames in (("reference", report.reference), ("generated", report.generated)):
        if frames.distinct < frames.frames:
            lines.append(f"{frames.frames - frames.distinct} {name} frames repeat another {name} frame.")
    sizes = [f"{frames.width_px} x {frames.height_px} px" for frames in (report.reference, report.generated)]
    if sizes[0] != sizes[1]:
        lines.append(f"The sets differ in size ({', '.join(sizes)}); resampling is part of the distance.")
    return "\n".join(lines)
