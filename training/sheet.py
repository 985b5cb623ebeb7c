"""The picture of one validation: a row for each frame with mask, real frame, generated frame and its nerves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

TILE, GAP, LINE, MARGIN = 224, 6, 18, 12
HEADINGS = ("mask", "real frame", "generated", "traced in the generated")
INK, PAPER, PALE = "black", "white", "#5b6770"


@dataclass(frozen=True)
class Row:
    """One held-out frame: pictures [H,W] or [H,W,3] in 0..1 (None stays empty), and a line of text."""

    pictures: Sequence[np.ndarray | None]
    text: str


def draw_sheet(title: str, rows: Sequence[Row]) -> bytes:
    """Return the sheet as a PNG."""
    from PIL import Image, ImageDraw

    top = MARGIN + 3 * LINE
    size = (2 * MARGIN + len(HEADINGS) * (TILE + GAP), top + len(rows) * (TILE + GAP + LINE) + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, fill=INK)
    for column, heading in enumerate(HEADINGS):
        pen.text((MARGIN + column * (TILE + GAP), top - LINE), heading, fill=PALE)
    for number, row in enumerate(rows):
        y = top + number * (TILE + GAP + LINE)
        for column, picture in enumerate(row.pictures):
            if picture is not None:
                sheet.paste(_tile(picture), (MARGIN + column * (TILE + GAP), y))
        pen.text((MARGIN, y + TILE + 2), row.text, fill=INK)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _tile(picture: np.ndarray) -> Picture:
    from PIL import Image, ImageOps

    values = np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return ImageOps.pad(Image.fromarray(values).convert("RGB"), (TILE, TILE), color=PAPER)
