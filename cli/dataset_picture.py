"""The report on a data set as one picture: counts, cohort balance, frames with their masks, near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from ..ccm.frames.record import SPLITS, Record, load_frame, load_mask
from ..training.data.check import UNASSIGNED, DatasetReport
from ..training.data.gather import Gathered
from .dataset_text import balance_table, count_lines

if TYPE_CHECKING:
    from PIL.Image import Image

MARGIN, GAP, TILE, ACROSS = 32, 8, 184, 7
WIDTH = 2 * MARGIN + ACROSS * (TILE + GAP) - GAP
TITLE_SIZE, TEXT_SIZE, LINE = 28, 16, 24
COLUMN, BAR_LEFT = 98, 700
PAPER, INK, FAINT, ERROR, WARNING = "white", "#16202a", "#5b6770", "#b3261e", "#8a5a00"
COLOURS: dict[str, str] = dict(
    zip((*SPLITS, UNASSIGNED), ("#2b6cb0", "#dd8a1f", "#6b46a3", "#8d99a1"), strict=True)
)
NERVE = (255, 196, 0)
MOST_PAIRS, MOST_PROBLEMS, LETTERS = 3, 8, 150


def draw_report(gathered: Gathered) -> Image:
    """Draw the report as an RGB picture; a patient is named only where the report names one."""
    report = gathered.report
    about = f"Read as {gathered.listing.layout}: {gathered.listing.about}"
    strips = [_text([str(gathered.listing.path.name)], INK, TITLE_SIZE), _text([about], FAINT)]
    strips += [_text([" ".join(line.split()) for line in count_lines(report)]), _text([""]), _balance(report)]
    for cohort in report.balance:
        whole = [r for r, found in zip(report.records, report.looked, strict=True) if not found.problems]
        shown = _spread([r for r in whole if report.cohort_name(r) == cohort])
        strips += [_text(["", f"{cohort}: frames and masks"], FAINT), _tiles([_outlined(r) for r in shown])]
    if report.near:
        strips.append(_text(["", f"Near-duplicates, {len(report.near)} pairs"], FAINT))
        strips.append(
            _tiles([_grey(report.records[n]) for pair in report.near[:MOST_PAIRS] for n in pair[:2]])
        )
    strips += [_text([""]), _problems("Error", report.errors, ERROR)]
    strips.append(_problems("Warning", report.warnings, WARNING))
    return _stack(strips)


def _stack(strips: Sequence[Image]) -> Image:
    """Put strips below one another, with a margin around them."""
    from PIL import Image

    height = sum(strip.height for strip in strips)
    picture = Image.new("RGB", (WIDTH, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for strip in strips:
        picture.paste(strip, (MARGIN, top))
        top += strip.height
    return picture


def _text(lines: Sequence[str], colour: str = INK, size: int = TEXT_SIZE) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    step = round(size * LINE / TEXT_SIZE)
    strip = Image.new("RGB", (WIDTH - 2 * MARGIN, step * len(lines)), PAPER)
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        pen.text((0, number * step), line, fill=colour, font=ImageFont.load_default(size))
    return strip


def _balance(report: DatasetReport) -> Image:
    """Frames by cohort and set as a table, and as bars beside it."""
    from PIL import ImageDraw, ImageFont

    heading, *rows = balance_table(report)
    strip = _text([""] * (len(rows) + 1))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(TEXT_SIZE)
    most = max(counts.total() for counts in report.balance.values())
    for number, cells in enumerate((heading, *rows)):
        for column, cell in enumerate(cells):
            colour = COLOURS.get(cell, FAINT) if number == 0 else INK
            pen.text((column * COLUMN, number * LINE), cell, fill=colour, font=font)
    for number, counts in enumerate(report.balance.values(), start=1):
        left, top = float(BAR_LEFT), number * LINE + 4
        for name, colour in COLOURS.items():
            right = left + counts[name] * (strip.width - BAR_LEFT) / most
            if counts[name]:
                pen.rectangle((left, top, right - 1, top + LINE - 10), fill=colour)
            left = right
    return strip


def _tiles(pictures: Sequence[np.ndarray]) -> Image:
    """Put pictures, uint8 [H,W,3], beside one another."""
    from PIL import Image, ImageOps

    strip = Image.new("RGB", (WIDTH - 2 * MARGIN, TILE), PAPER)
    for number, picture in enumerate(pictures):
        tile = ImageOps.pad(Image.fromarray(picture), (TILE, TILE), color=PAPER)
        strip.paste(tile, (number * (TILE + GAP), 0))
    return strip


def _outlined(record: Record) -> np.ndarray:
    """Return a frame, uint8 [H,W,3], with its mask's outline in colour."""
    import cv2

    picture, mask = _grey(record), load_mask(record)
    if mask is not None:
        lines, _ = cv2.findContours((mask > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, NERVE, max(1, picture.shape[1] // 300))
    return picture


def _grey(record: Record) -> np.ndarray:
    frame = np.round(load_frame(record) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(frame[..., None], 3, axis=-1))


def _spread(records: Sequence[Record]) -> list[Record]:
    """Return at most ACROSS records, from the first to the last."""
    chosen = np.linspace(0, len(records) - 1, min(ACROSS, len(records))).round().astype(int)
    return [records[number] for number in chosen]


def _problems(kind: str, problems: Sequence[str], colour: str) -> Image:
    rest = len(problems) - MOST_PROBLEMS
    told = [f"{kind}: {problem}." for problem in problems[:MOST_PROBLEMS]]
    told += [f"{kind}: and {rest} more"] if rest > 0 else []
    return _text([line for text in told for line in wrap(text, LETTERS, subsequent_indent="    ")], colour)
