"""The data card: what the data set is and how it was made, for a reader, with its numbers, plots and a contact sheet.

README.md                 the card            card/contact_sheet.png   frames and masks of every cohort
card/summary.csv          a line per cohort   card/BIOMARKER.png       its values by cohort, if measured
"""

from __future__ import annotations

import csv
import heapq
import io
import json
import math
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ..ccm.dataset.folder import DatasetFolder, write_whole
from ..ccm.dataset.manifest import DONE, REJECTED, Row
from ..ccm.dataset.marks import NOTE
from . import card_pictures
from .items import number
from .making import Maker

CARD = "README.md"
SHOWN = 6  # frames of a cohort on the contact sheet
PLOTTED = {
    "cnfl_mm_per_mm2": "CNFL, mm/mm2",
    "cnfd_per_mm2": "CNFD, /mm2",
    "cnbd_per_mm2": "CNBD, /mm2",
    "cnfw_um": "CNFW, um",
    "adherence": "centre-line F1 between traced frame and mask",
}


@dataclass
class CohortNumbers:
    """What the manifest holds of one cohort."""

    done: int = 0
    redrawn: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    values: dict[str, array[float]] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    seconds: float = 0.0
    shown: list[tuple[int, str, str]] = field(default_factory=list)  # rank, frame, mask

    def add(self, row: Row) -> None:
        """Count the line of a finished frame."""
        self.done += 1
        self.seconds += row.get("seconds", 0.0)
        measured = {**row.get("biomarkers", {}), "adherence": row.get("adherence")}
        for name, value in measured.items():
            if value is not None:
                self.values[name].append(value)
        heapq.heappush(self.shown, (-number(row["item"]), row["file"], row.get("mask", "")))
        if len(self.shown) > SHOWN:
            heapq.heappop(self.shown)


@dataclass
class Numbers:
    """What the manifest holds: numbers of each cohort, the errors of items that have no frame, one finished row."""

    cohorts: dict[str, CohortNumbers]
    missing: dict[str, str]
    example: Row


def write_card(maker: Maker, folder: DatasetFolder) -> None:
    """Write the card from the manifest."""
    numbers = gather(maker, folder)
    root = folder.root
    write_whole(root / "card" / "summary.csv", _csv(numbers).encode())
    plots = []
    if numbers.example:
        sheet = {
            name: [(f, m) for _, f, m in sorted(c.shown)] for name, c in numbers.cohorts.items() if c.shown
        }
        write_whole(root / "card" / "contact_sheet.png", card_pictures.contact_sheet(root, sheet))
        for name, title in PLOTTED.items():
            values = {cohort: c.values[name] for cohort, c in numbers.cohorts.items() if len(c.values[name])}
            if values:
                plots.append(f"{name}.png")
                write_whole(root / "card" / plots[-1], card_pictures.by_cohort(values, name, title))
    write_whole(root / CARD, _text(maker, numbers, plots).encode())


def gather(maker: Maker, folder: DatasetFolder) -> Numbers:
    """Read the manifest once."""
    cohorts = {name: CohortNumbers() for name in maker.plan.cohorts}
    missing: dict[str, str] = {}
    seen: set[str] = set()
    example: Row = {}
    for _, row in folder.manifest.rows():
        numbers = cohorts.setdefault(row["cohort"], CohortNumbers())
        if row["status"] == DONE:
            missing.pop(row["item"], None)
            if row["item"] not in seen:
                seen.add(row["item"])
                numbers.add(row)
                example = example or row
            continue
        if row["status"] == REJECTED:
            numbers.redrawn += 1
            numbers.reasons.update(reason.split(" 0.")[0] for reason in row["error"].split("; "))
        if row["item"] not in seen:
            missing[row["item"]] = row["error"]
    return Numbers(cohorts, missing, example)


def _csv(numbers: Numbers) -> str:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(
        [
            "cohort",
            "synthetic",
            "frames",
            "rejected_draws",
            *(f"{n}_{s}" for n in PLOTTED for s in ("mean", "sd")),
        ]
    )
    for name, cohort in numbers.cohorts.items():
        cells = [_round(x) for biomarker in PLOTTED for x in mean_sd(cohort.values[biomarker])]
        out.writerow([name, "synthetic", cohort.done, cohort.redrawn, *cells])
    return text.getvalue()


def mean_sd(values: array[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, NaN where there are too few values."""
    n = len(values)
    if n < 1:
        return math.nan, math.nan
    mean = math.fsum(values) / n
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1)) if n > 1 else math.nan


def _cell(mean: float, sd: float) -> str:
    return f"{_round(mean)} ± {_round(sd)}" if not math.isnan(sd) else _round(mean)


def _round(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _text(maker: Maker, numbers: Numbers, plots: list[str]) -> str:
    plan = maker.plan
    total = sum(cohort.done for cohort in numbers.cohorts.values())
    lines = [
        f"# {plan.dataset.name}",
        "",
        f"**{NOTE.capitalize()}.** {total} generated frames of the sub-basal nerve",
    ]
    lines[-1] += " plexus; no frame shows a patient, and the patients named are invented."
    shown = [name for name in PLOTTED if any(len(c.values[name]) for c in numbers.cohorts.values())]
    heading = ["cohort", "asked for", "frames", "rejected draws", *(PLOTTED[name] for name in shown)]
    lines += ["", "## Frames", "", f"| {' | '.join(heading)} |", "|---" * len(heading) + "|"]
    for name, cohort in numbers.cohorts.items():
        asked = plan.cohorts[name].count if name in plan.cohorts else 0
        why = ", ".join(f"{reason} {count}" for reason, count in cohort.reasons.most_common())
        cells = [_cell(*mean_sd(cohort.values[biomarker])) for biomarker in shown]
        rejected = f"{cohort.redrawn} ({why})" if why else str(cohort.redrawn)
        lines.append(f"| {' | '.join([name, str(asked), str(cohort.done), rejected, *cells])} |")
    lines += ["", _measured(numbers), "", f"{len(numbers.missing)} items have no frame."]
    lines += [f"- {item}: {error}" for item, error in list(numbers.missing.items())[:20]]
    lines += ["", "![frames and masks](card/contact_sheet.png)"] if numbers.example else []
    lines += [f"![{name}](card/{name})" for name in plots]
    return "\n".join([*lines, "", *_made(maker, numbers), "", *_use(), ""])


def _measured(numbers: Numbers) -> str:
    by = numbers.example.get("measured_by")
    if not by:
        return "The frames were not measured."
    return (
        f"Mean ± sd over frames, by {by['tool']} {by['version']}, network {by['network']}; comparable only with "
        "numbers of the same tool."
    )


def _made(maker: Maker, numbers: Numbers) -> list[str]:
    plan, row = maker.plan, numbers.example
    seconds = sum(cohort.seconds for cohort in numbers.cohorts.values())
    done = sum(cohort.done for cohort in numbers.cohorts.values())
    told = {
        "masks": f"{plan.mask.source}, {plan.mask.width_px:g} px wide",
        "graph": f"{plan.graph_file.name}, SHA-256 {maker.workflow.sha256}",
        "size": f"{plan.dataset.size_px} px a side, 400 um",
        "seed": str(plan.dataset.seed),
        "settings": json.dumps(dict(plan.settings)),
        "quality": f"gate {plan.quality.gate}, least adherence {plan.quality.least_adherence:g}, "
        f"at most {plan.quality.redraws} redraws"
        if plan.quality.measure
        else "not measured",
        "versions": json.dumps(row.get("versions", {})),
        "time": f"{seconds / max(1, done):.2f} s a frame on the servers",
    }
    lines = ["## How it was made", "", *(f"- {name}: {value}" for name, value in told.items())]
    lines += [f"- {name}: SHA-256 {digest}" for name, digest in row.get("models", {}).items()]
    return [
        *lines,
        "",
        "`manifest.jsonl` has a line for every draw; every PNG carries its graph and the mark.",
    ]


def _use() -> list[str]:
    return [
        "## How to read it",
        "",
        "- `table.csv`: frame, mask, cohort, patient, eye, split; `python . train`, `evaluate` and `measure` take the",
        "  folder as it is; patients are in one split only.",
        "- `frames/` is a PyTorch ImageFolder by cohort; `dataset.json` serves MONAI's `load_decathlon_datalist`",
        "  (key `training`, `validation` or `test`).",
        "- `participants.tsv` and the names of the files follow BIDS.",
    ]
