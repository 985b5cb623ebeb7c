"""What the demo leaves behind: frames, overlays, biomarkers.json and .csv, and the contact sheet."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batch.client import Client, Graph, Outputs
from ..ccm.cohorts import Cohort
from .contact_sheet import Row, Sheet, draw_sheet
from .demo_graph import find, has

if TYPE_CHECKING:
    from PIL.Image import Image

NOTE = "synthetic, not for clinical use"
REAL = "Real"
KINDS = ("mask", "frame", "overlay")
LEFT_OUT = {"cnfw_um": None}  # of a mask: it is as wide as it was drawn
CONNECTION = "A connection is one branch with two branch points, so CNBD can exceed CTBD."
COLUMNS = {
    "cnfl_mm_per_mm2": ("CNFL mm/mm2", 1),
    "cnfd_per_mm2": ("CNFD /mm2", 1),
    "cnbd_per_mm2": ("CNBD /mm2", 1),
    "ctbd_per_mm2": ("CTBD /mm2", 1),
    "cnfw_um": ("CNFW um", 2),
    "tortuosity_tc": ("tortuosity TC", 2),
}


@dataclass(frozen=True)
class Group:
    """The frames of one cohort, or the real one: PNG files by kind, and one dict of biomarkers per frame."""

    name: str
    pictures: dict[str, list[bytes]]
    measured: list[dict[str, Any]]
    truth: list[dict[str, Any]]  # of the generated masks; empty where the mask is a tracing


@dataclass(frozen=True)
class Written:
    """Where everything lies, and whether the real frame is fit to be measured."""

    folder: Path
    sheet: Path
    json: Path
    csv: Path
    quality: str  # what the segmentation says of the real frame; empty without one


def write(client: Client, graph: Graph, outputs: Outputs, folder: Path, seed: int) -> Written:
    """Fetch the results of a run and write them into `folder`, over those of an earlier run."""
    names = [REAL] * has(graph, "Real biomarkers") + [cohort.value for cohort in Cohort]
    groups = [_collect(client, graph, outputs, name) for name in names]
    fidelity, quality = {}, ""
    if has(graph, "Fidelity JSON"):
        fidelity = json.loads(outputs.text(find(graph, "Fidelity JSON")))
    if has(graph, "Real quality"):
        quality = outputs.text(find(graph, "Real quality")).removeprefix("frame 1: ")
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(
        folder, folder / "contact_sheet.png", folder / "biomarkers.json", folder / "biomarkers.csv", quality
    )
    for name, content in _pictures(groups).items():
        (folder / name).write_bytes(content)
    records = _records(groups)
    report = {"note": NOTE, "seed": seed, "quality": quality, "frames": records, "fidelity": fidelity}
    written.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    written.csv.write_text(_as_csv(records), "utf-8")
    draw_sheet(_sheet(groups, _footer(fidelity, quality, seed))).save(written.sheet)
    return written


def _collect(client: Client, graph: Graph, outputs: Outputs, name: str) -> Group:
    pictures = {}
    for kind in KINDS:
        title = f"{name} {kind} saved"
        files = outputs.files(find(graph, title if has(graph, title) else f"{REAL} {kind} saved"))
        pictures[kind] = [client.fetch(file) for file in files]
    truth = f"{name} truth"
    return Group(
        name,
        pictures,
        measured=json.loads(outputs.text(find(graph, f"{name} biomarkers")))["frames"],
        truth=json.loads(outputs.text(find(graph, truth)))["frames"] if has(graph, truth) else [],
    )


def _pictures(groups: list[Group]) -> dict[str, bytes]:
    """File name -> PNG; the names say which frame of which cohort."""
    return {
        f"{group.name}_{number + 1}_{kind}.png": content
        for group in groups
        for kind, contents in group.pictures.items()
        for number, content in enumerate(contents)
    }


def _records(groups: list[Group]) -> list[dict[str, Any]]:
    """One flat record per frame: where it comes from, what was measured, and the truth of its mask."""
    records = []
    for group in groups:
        for number, measured in enumerate(group.measured):
            truth = group.truth[number] if group.truth else {}
            frame = f"{group.name}_{number + 1}_frame.png"
            record = {"cohort": group.name, "synthetic": group.name != REAL, "frame": frame, **measured}
            records.append(record | {f"mask_{key}": value for key, value in truth.items()})
    return records


def _as_csv(records: list[dict[str, Any]]) -> str:
    fields = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in record.items()} for record in records)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Six digits of a number, as `python . measure` writes them."""
    return f"{value:.6g}" if isinstance(value, float) else value


def _sheet(groups: list[Group], footer: list[str]) -> Sheet:
    rows = [Row(group.name, _triples(group)) for group in groups]
    heading = ["mean of frames", *(title for title, _ in COLUMNS.values())]
    table = [heading]
    for group in groups:
        masks = [frame | LEFT_OUT for frame in group.truth]
        for name, frames in ((f"{group.name}, traced", group.measured), (f"{group.name}, mask", masks)):
            if frames:
                table.append([name, *(_mean(frames, key, digits) for key, (_, digits) in COLUMNS.items())])
    real = groups[0].name == REAL
    note = f"All frames but the real one are {NOTE}." if real else f"{NOTE.capitalize()}."
    return Sheet("ComfyUI-CCM: generated, traced, measured", note, rows, table, footer)


def _mean(frames: list[dict[str, Any]], key: str, digits: int) -> str:
    values = [frame[key] for frame in frames if frame.get(key) is not None]
    mean = sum(values) / len(values) if values else math.nan
    return "-" if math.isnan(mean) else f"{mean:.{digits}f}"


def _footer(fidelity: dict[str, Any], quality: str, seed: int) -> list[str]:
    colours = f"Main fibres orange, branches blue, branch points yellow, fragments lilac. Seed {seed}."
    if quality:
        return [
            f"The real frame: {quality}.",
            "Its tracing is the mask of all three synthetic frames.",
            colours,
            CONNECTION,
        ]
    mmd, frechet = fidelity["mmd"], fidelity["frechet"]
    found = mmd["statistics"]
    return [
        f"{frechet['n_b']} generated frames against {frechet['n_a']} phantom frames: unbiased MMD^2 x 1000 = "
        f"{1e3 * found['value']:.1f} (permutation p = {found['p_value']:.2g}), "
        f"Frechet distance {frechet['distance']:.3g}.",
        "So few frames show that the measurement works, not how good the generator is.",
        colours,
        f"Masks are drawn 3 px wide, so their CNFW is left out. {CONNECTION}",
    ]


def _triples(group: Group) -> list[tuple[Image, ...]]:
    """Mask, frame and overlay of each frame; the overlay's legend is cut off."""
    masks, frames, overlays = ([_open(content) for content in group.pictures[kind]] for kind in KINDS)
    triples = []
    for mask, frame, overlay in zip(masks, frames, overlays, strict=True):
        height = round(overlay.width * frame.height / frame.width)
        triples.append((mask, frame, overlay.crop((0, 0, overlay.width, height))))
    return triples


def _open(content: bytes) -> Image:
    from PIL import Image

    return Image.open(io.BytesIO(content))
