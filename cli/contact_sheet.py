"""One picture that shows a whole run: masks, generated frames and tracings, and their biomarkers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

MARGIN, GAP, TILE, LABEL = 32, 8, 288, 104
TITLE_SIZE, TEXT_SIZE, LINE = 30, 17, 26
LETTER = 9  # a little wider than the mean one
PAPER, INK, FAINT = "white", "#16202a", "#5b6770"
COLUMNS = ("mask", "frame", "traced nerves")


@dataclass(frozen=True)
class Row:
    """What one cohort shows: as many groups of mask, frame and overlay as it has frames."""

    name: str
    pictures: Sequence[Sequence[Image]]  # frames x (mask, frame, overlay)


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: pictures above, a table and lines of text below."""

    title: str
    note: str
    rows: Sequence[Row]
    table: Sequence[Sequence[str]]  # the first line is the heading
    footer: Sequence[str]


def draw_sheet(sheet: Sheet) -> Image:
    """Draw the sheet as an RGB picture."""
    from PIL import Image, ImageDraw

    groups = max(len(row.pictures) for row in sheet.rows)
    width = 2 * MARGIN + LABEL + groups * len(COLUMNS) * (TILE + GAP)
    pictures_top = MARGIN + TITLE_SIZE + 3 * LINE
    table_top = pictures_top + len(sheet.rows) * (TILE + GAP) + LINE
    footer_top = table_top + (len(sheet.table) + 1) * LINE
    footer = [part for line in sheet.footer for part in wrap(line, (width - 2 * MARGIN) // LETTER)]
    height = footer_top + len(footer) * LINE + MARGIN
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    _write(pen, MARGIN, MARGIN, sheet.title, size=TITLE_SIZE)
    _write(pen, MARGIN, MARGIN + TITLE_SIZE + LINE // 2, sheet.note, colour=FAINT)
    _place_pictures(picture, pen, sheet.rows, pictures_top)
    _write_table(pen, sheet.table, table_top, width)
    for number, line in enumerate(footer):
        _write(pen, MARGIN, footer_top + number * LINE, line, colour=FAINT)
    return picture


def _place_pictures(picture: Image, pen: ImageDraw, rows: Sequence[Row], top: int) -> None:
    from PIL import ImageOps

    for index, row in enumerate(rows):
        y = top + index * (TILE + GAP)
        _write(pen, MARGIN, y + TILE // 2 - TEXT_SIZE, row.name)
        for number, tile in enumerate(image for group in row.pictures for image in group):
            x = MARGIN + LABEL + number * (TILE + GAP)
            picture.paste(ImageOps.pad(tile.convert("RGB"), (TILE, TILE), color=PAPER), (x, y))
            if index == 0:
                _write(pen, x, top - LINE, COLUMNS[number % len(COLUMNS)], colour=FAINT)


def _write_table(pen: ImageDraw, table: Sequence[Sequence[str]], top: int, width: int) -> None:
    step = (width - 2 * MARGIN) / (len(table[0]) + 0.5)  # the names take one and a half columns
    for index, line in enumerate(table):
        y = top + index * LINE
        for column, cell in enumerate(line):
            x = MARGIN + round((column + 0.5 * (column > 0)) * step)
            _write(pen, x, y, cell, colour=FAINT if index == 0 else INK)
    pen.line((MARGIN, top + LINE - 3, width - MARGIN, top + LINE - 3), fill=FAINT)


def _write(pen: ImageDraw, x: int, y: int, text: str, *, size: int = TEXT_SIZE, colour: str = INK) -> None:
    from PIL import ImageFont

    pen.text((x, y), text, fill=colour, font=ImageFont.load_default(size))
