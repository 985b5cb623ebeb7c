"""The table of an ablation: each number of each arm over the seeds, with intervals."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Results = Mapping[str, Mapping[int, Mapping[str, float]]]  # arm -> seed -> number -> value
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean over seeds and where the true mean lies with 95 % confidence; NaN limits for a single seed."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} ({self.low:.3g} to {self.high:.3g})"


def interval(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean; with three seeds it is 2.5 standard deviations to each side."""
    from scipy.stats import t

    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def summarise(results: Results) -> dict[str, dict[str, Interval]]:
    """Return number -> column -> interval: one column an arm, then the difference of the last two arms.

    The difference is taken seed by seed: the runs of a seed share the split, the frames and all noise.
    """
    *_, reference, judged = results
    summary: dict[str, dict[str, Interval]] = {}
    for name in _names(results):
        columns = {arm: interval([run[name] for run in runs.values()]) for arm, runs in results.items()}
        gains = [results[judged][seed][name] - results[reference][seed][name] for seed in results[judged]]
        summary[name] = {**columns, f"{judged} - {reference}": interval(gains)}
    return summary


def as_text(results: Results, facts: Sequence[str]) -> str:
    """Return the table as text, below the facts that it holds for."""
    summary = summarise(results)
    heads = ["", *next(iter(summary.values()))]
    rows = [[name, *map(str, columns.values())] for name, columns in summary.items()]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [heads, *rows]
    ]
    seeds = ", ".join(map(str, next(iter(results.values()))))
    note = f"Mean over seeds {seeds} (95 % interval, Student's t). Differences are paired by seed."
    return "\n".join([*facts, note, "", *(line.rstrip() for line in lines)]) + "\n"


def as_csv(results: Results) -> str:
    """Return one line for each run."""
    names = _names(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", *names])
    for arm, runs in results.items():
        for seed, numbers in runs.items():
            writer.writerow([arm, seed, *(repr(numbers[name]) for name in names)])
    return text.getvalue()


def as_json(results: Results, facts: Mapping[str, object]) -> dict[str, object]:
    """Return everything as JSON values; what is not finite becomes None."""
    intervals = {
        name: {column: [_finite(value) for value in found] for column, found in columns.items()}
        for name, columns in summarise(results).items()
    }
    runs = [
        {"arm": arm, "seed": seed, **{name: _finite(value) for name, value in numbers.items()}}
        for arm, seeds in results.items()
        for seed, numbers in seeds.items()
    ]
    return {**facts, "intervals": intervals, "runs": runs}


def _names(results: Results) -> list[str]:
    """Return the numbers that every run has."""
    runs = [numbers for seeds in results.values() for numbers in seeds.values()]
    return [name for name in runs[0] if all(name in run for run in runs)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
