"""The pictures of the help pages: a result of each node, made by the functions that the node calls, or its place."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..batch.client import Client
from ..ccm.cohorts import Cohort
from ..ccm.images import FIELD_PX, UM_PER_PX
from ..ccm.phantom.request import MaskRequest, generate_masks
from ..ccm.phantom.tree import TreeTargets
from ..ccm.plots.canvas import Canvas
from .docs_generated import generate, phantom
from .docs_place import place

if TYPE_CHECKING:
    from ..ccm.equivalence.rows import MeasuredSet

FROM_COHORT = TreeTargets(0.0, 0.0, 0.0, 0.0)
WIDTH, WIDEST, GAP, LINE, TEXT_PX = 704, 256, 8, 20, 13
MASKS = 8  # of each cohort in the plot
PATIENTS = 12  # of each cohort in the forest
SET = 24  # frames of each set whose distance is shown
MOST_BYTES = 25_000
QUALITIES = range(88, 24, -4)
PLACES = {  # the template that shows where the node stands
    "CCM_LoadFoundation": "flux",
    "CCM_LoadNano": "first_steps",
    "CCM_NerveMaskReference": "qwen_image_edit",
    "CCM_Report": "real_against_synthetic",
    "CCM_SaveDataset": "train_an_adapter",
}
Panels = Sequence[tuple[str, np.ndarray]]


def write(folder: Path, client: Client) -> Iterator[Path]:
    """Write one picture for each node, named after it: JPEG where frames are in it, PNG of lines and letters."""
    folder.mkdir(parents=True, exist_ok=True)
    known = client.object_info()
    drawn = {**PLOTS, **{node: partial(place, node, template, known) for node, template in PLACES.items()}}
    pictured = {**PICTURES, **{node: partial(make, client) for node, make in GENERATED.items()}}
    for kind, makers, encode in ((".png", drawn, _png), (".jpg", pictured, _jpeg)):
        for node, make in makers.items():
            (folder / (node + kind)).write_bytes(encode(np.round(255.0 * make()).astype(np.uint8)))
            yield folder / (node + kind)


def controlled(client: Client) -> np.ndarray:
    """Two masks, and the frames that grow on them with the same prompt and noise."""
    seeds = (6, 11)
    masks = [phantom(Cohort.CONTROL, seed).mask for seed in seeds]
    frames = [generate(client, Cohort.CONTROL, seed, Cohort.CONTROL) for seed in seeds]
    return side_by_side(
        [("mask", masks[0]), ("frame", frames[0]), ("another mask", masks[1]), ("same noise", frames[1])]
    )


def prompted(client: Client) -> np.ndarray:
    """One mask and one noise under the prompts of the three cohorts."""
    mask = phantom(Cohort.CONTROL, 6).mask
    return side_by_side(
        [
            ("one mask", mask),
            *((cohort.value, generate(client, Cohort.CONTROL, 6, cohort)) for cohort in Cohort),
        ]
    )


def adapted(client: Client) -> np.ndarray:
    """One mask, prompt and noise, with more and more of the adapter."""
    mask = phantom(Cohort.CONTROL, 6).mask
    frames = [
        (f"strength {s:g}", generate(client, Cohort.CONTROL, 6, Cohort.T1DPN, s)) for s in (0.0, 0.5, 1.0)
    ]
    return side_by_side([("mask, prompt T1DPN", mask), *frames])


def paired(client: Client) -> np.ndarray:
    """Two phantom frames beside the frames generated from their masks, and how alike they are."""
    from ..ccm.fidelity.pair_summary import compare_pairs

    grown = ((Cohort.CONTROL, 6), (Cohort.T1DPN, 3))
    pairs = [phantom(cohort, seed) for cohort, seed in grown]
    fresh = [generate(client, cohort, seed, cohort) for cohort, seed in grown]
    report = compare_pairs(np.stack([pair.frame for pair in pairs]), np.stack(fresh))
    panels: list[tuple[str, np.ndarray]] = []
    for number, (pair, frame) in enumerate(zip(pairs, fresh, strict=True)):
        similar = f"SSIM {report.pairs.ssim[number]:.2f}, PSNR {report.pairs.psnr_db[number]:.1f} dB"
        panels += [(f"reference {number + 1}", pair.frame), (f"generated {number + 1}\n{similar}", frame)]
    return side_by_side(panels)


def nerve_masks() -> np.ndarray:
    """One mask of each cohort."""
    return side_by_side([(cohort.value, _masks(cohort, 1)[0]) for cohort in Cohort])


def prepared_mask() -> np.ndarray:
    """A drawing in ink on grey paper, and what Prepare Nerve Mask makes of it."""
    import cv2

    from ..ccm.masks import prepare_masks

    rng = np.random.default_rng(1)
    drawn = cv2.dilate(_masks(Cohort.CONTROL, 1, seed=4)[0], np.ones((3, 3), np.uint8))
    paper = 0.75 - 0.15 * np.linspace(0.0, 1.0, drawn.shape[0], dtype=np.float32)[:, None]
    photographed = cv2.GaussianBlur(paper * (1.0 - 0.8 * drawn), (0, 0), 1.2)
    photographed += rng.normal(0.0, 0.02, drawn.shape).astype(np.float32)
    return side_by_side([("drawn", photographed), ("prepared", prepare_masks(photographed[None])[0])])


def mask_styles() -> np.ndarray:
    """A mask, and how it is drawn for models that were trained on other drawings."""
    from ..ccm.control import MaskStyle, draw_masks

    mask = _masks(Cohort.T1NODPN, 1)
    styles = (MaskStyle.NERVES, MaskStyle.CANNY, MaskStyle.SOFT_EDGE, MaskStyle.SEGMENTATION)
    return side_by_side([(style.value, draw_masks(mask, style)[0]) for style in styles])


def loaded_frame() -> np.ndarray:
    """A phantom as an export with text below it, and the frame that is read from the file."""
    import tempfile

    from PIL import Image

    from ..ccm.frames.reading import read_frame

    footer = Canvas(FIELD_PX, 100)
    for number, line in enumerate(("Examination, date, eye", "400 um x 400 um (384 x 384)")):
        footer.text((14, 28 + 34 * number), line, size_px=24)
    below = footer.array().mean(axis=2)
    sheet = np.concatenate([phantom(Cohort.CONTROL, 6).frame, 1.0 - below])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export.png"
        Image.fromarray(np.round(255.0 * sheet).astype(np.uint8)).save(file)
        frame = read_frame(file)
    return side_by_side([("file, 384 x 484", sheet), ("frame, 384 x 384", frame)])


def traced() -> np.ndarray:
    """A phantom frame and the nerves that are found in it."""
    frame = phantom(Cohort.CONTROL, 6).frame
    return side_by_side([("frame", frame), ("mask", _nerves(frame[None])[0])])


def measured() -> np.ndarray:
    """The nerves of a phantom frame, and the overlay of what was measured."""
    from ..ccm.morphometry.biomarkers import measure_batch
    from ..ccm.morphometry.overlay import draw_overlay

    frame = phantom(Cohort.CONTROL, 6).frame
    found = _nerves(frame[None])
    overlay = draw_overlay(frame, measure_batch(found, UM_PER_PX, None)[0], UM_PER_PX)
    return side_by_side([("mask", found[0]), ("overlay", overlay)])


def judged_frames() -> np.ndarray:
    """A fit frame and three unfit ones, under what the quality gate says of them."""
    from ..benchmarks import unfit_frames
    from ..ccm.segmentation import segment_nerves

    frames = np.stack(
        [
            unfit_frames.fit_frame(3).grey,
            unfit_frames.smeared(0),
            unfit_frames.pressure_lines(2),
            unfit_frames.epithelium(0),
        ]
    )
    verdicts = [", ".join(map(str, one.reasons)) or "fit" for one in segment_nerves(frames).quality]
    return side_by_side(list(zip(verdicts, frames, strict=True)))


def distances() -> np.ndarray:
    """What the distance is to phantoms of the same kind, to softened and to noisy ones."""
    import cv2

    from ..ccm.fidelity.compare import compare
    from ..ccm.fidelity.features import load_nerve_encoder

    network, rng = load_nerve_encoder(), np.random.default_rng(0)
    reference, others = (
        np.stack([phantom(Cohort.CONTROL, seed).frame for seed in range(first, first + SET)])
        for first in (100, 200)
    )
    noisy = np.clip(others + rng.normal(0.0, 0.08, others.shape), 0.0, 1.0).astype(np.float32)
    sets = {
        "same kind": others,
        "softened": np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in others]),
        "noisy": noisy,
    }
    panels = [(f"reference\n{SET} frames a set", reference[0])]
    for name, frames in sets.items():
        found = compare(reference, frames, network, seed=0).mmd.statistics
        said = f"MMD^2 {found.value:.3f}, p {found.p_value:.2g}"
        panels.append((f"{name}\n{said}", frames[0]))
    return side_by_side(panels)


def copies() -> np.ndarray:
    """Three fresh phantoms and one that is a training frame turned and brightened, beside their neighbours."""
    from ..ccm.fidelity.copies import find_copies, sheet
    from ..ccm.fidelity.features import load_nerve_encoder

    frames = np.stack([phantom(Cohort.CONTROL, seed).frame for seed in range(300, 355)])
    fresh, training, heldout = frames[:3], frames[3:15], frames[15:]
    planted = np.clip(1.15 * np.rot90(training[4]), 0.0, 1.0)
    generated = np.concatenate([fresh, planted[None].astype(np.float32)])
    return sheet(find_copies(generated, training, heldout, load_nerve_encoder()), generated, training)[0]


def cohort_plot() -> np.ndarray:
    """The plot of masks drawn from the cohorts' reference values, each a patient."""
    from ..ccm.cohort_groups import group, to_figure

    return to_figure(group(_measured("measured", {cohort: _masks(cohort, MASKS) for cohort in Cohort})))


def equivalence() -> np.ndarray:
    """Phantoms, each a patient: nerves that were traced against nerves that were drawn, paired."""
    from ..ccm.equivalence.compare import compare_sets
    from ..ccm.equivalence.figures import forest_figure
    from ..ccm.equivalence.margins import default_margins
    from ..ccm.statistics.equivalence import Design

    drawn = {cohort: [phantom(cohort, seed) for seed in range(PATIENTS)] for cohort in Cohort}
    masks = {cohort: np.stack([one.mask for one in ones]) for cohort, ones in drawn.items()}
    found = {cohort: _nerves(np.stack([one.frame for one in ones])) for cohort, ones in drawn.items()}
    sets = _measured("real", masks), _measured("generated", found)
    return forest_figure(compare_sets(*sets, default_margins(), Design.PAIRED))[0]


PLOTS: dict[str, Callable[[], np.ndarray]] = {
    "CCM_CohortPlot": cohort_plot,
    "CCM_Equivalence": equivalence,
}
PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "CCM_Fidelity": distances,
    "CCM_FindCopies": copies,
    "CCM_FrameQuality": judged_frames,
    "CCM_GenerateNerveMask": nerve_masks,
    "CCM_LoadFrames": loaded_frame,
    "CCM_NerveBiomarkers": measured,
    "CCM_NerveMaskConcat": mask_styles,
    "CCM_PrepareNerveMask": prepared_mask,
    "CCM_SegmentNerves": traced,
}
GENERATED: dict[str, Callable[[Client], np.ndarray]] = {
    "CCM_ApplyNerveMaskControl": controlled,
    "CCM_DPNPrompt": prompted,
    "CCM_LoadAdapter": adapted,
    "CCM_PairedSimilarity": paired,
}


def side_by_side(panels: Panels) -> np.ndarray:
    """Pictures [H,W] or [H,W,3] in 0..1, scaled to one width, under captions of one or more lines."""
    side = min((WIDTH + GAP) // len(panels) - GAP, WIDEST)
    head = LINE * max(caption.count("\n") + 1 for caption, _ in panels) + 4
    scaled = [_scaled(picture, side) for _, picture in panels]
    canvas = Canvas(len(panels) * (side + GAP) - GAP, head + max(map(len, scaled)))
    for number, (caption, _) in enumerate(panels):
        for row, line in enumerate(caption.split("\n")):
            canvas.text((number * (side + GAP) + 1, LINE * (row + 0.5) + 1), line, size_px=TEXT_PX)
    sheet = canvas.array().copy()
    for number, picture in enumerate(scaled):
        left = number * (side + GAP)
        sheet[head : head + len(picture), left : left + side] = picture
    return sheet


def _masks(cohort: Cohort, count: int, seed: int = 2) -> np.ndarray:
    """Masks of a cohort at the nerves' own widths, float32 [count,384,384]."""
    return generate_masks(MaskRequest(cohort.value, FROM_COHORT, count, seed, FIELD_PX, 0.0)).masks


def _measured(name: str, masks: dict[Cohort, np.ndarray]) -> MeasuredSet:
    """Masks [B,H,W] of each cohort as measured rows, each mask a patient."""
    from ..ccm.equivalence.rows import read_rows
    from ..ccm.morphometry.biomarkers import measure_batch
    from ..ccm.morphometry.report import to_json

    labels = [f"{cohort.value},{cohort.value}{n}" for cohort, ones in masks.items() for n in range(len(ones))]
    table = to_json(measure_batch(np.concatenate(list(masks.values())), UM_PER_PX, None), UM_PER_PX)
    return read_rows(name, table, "\n".join(["cohort,patient", *labels]))


def _nerves(frames: np.ndarray) -> np.ndarray:
    from ..ccm.segmentation import segment_nerves

    return segment_nerves(frames).mask.astype(np.float32)


def _scaled(picture: np.ndarray, width: int) -> np.ndarray:
    import cv2

    coloured = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    height = round(width * len(picture) / picture.shape[1])
    scaled = cv2.resize(coloured.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.clip(scaled, 0.0, 1.0)


def _png(levels: np.ndarray) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(levels).quantize(64).save(content, "PNG", optimize=True)
    return content.getvalue()


def _jpeg(levels: np.ndarray) -> bytes:
    """The best JPEG file of at most MOST_BYTES."""
    from PIL import Image

    files = []
    for quality in QUALITIES:
        content = io.BytesIO()
        Image.fromarray(levels).save(content, "JPEG", quality=quality, optimize=True)
        files.append(content.getvalue())
    return next((file for file in files if len(file) <= MOST_BYTES), files[-1])
