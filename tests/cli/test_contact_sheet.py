"""The contact sheet: everything is on it, in its place."""

from __future__ import annotations

from ccm_pack.cli.contact_sheet import GAP, LABEL, MARGIN, TILE, Row, Sheet, draw_sheet
from PIL import Image

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


def make_sheet(rows: int, groups: int, footer: str = "footer") -> Sheet:
    pictures = [[Image.new("RGB", (384, 384), colour) for colour in COLOURS] for _ in range(groups)]
    table = [["mean", "CNFL"], *(["x", "1.0"] for _ in range(rows))]
    return Sheet("Title", "Note.", [Row(f"row {n}", pictures) for n in range(rows)], table, [footer])


def test_every_picture_is_in_its_column_in_every_row() -> None:
    sheet = draw_sheet(make_sheet(rows=3, groups=2))
    centres = [MARGIN + LABEL + column * (TILE + GAP) + TILE // 2 for column in range(6)]
    found = [
        [pixel for x in centres if (pixel := sheet.getpixel((x, y))) in COLOURS] for y in range(sheet.height)
    ]
    assert {tuple(line) for line in found if line} == {tuple(COLOURS * 2)}
    assert sum(bool(line) for line in found) == 3 * TILE


def test_more_rows_make_it_taller_and_more_frames_wider() -> None:
    small, tall, wide = (draw_sheet(make_sheet(*shape)) for shape in ((1, 1), (2, 1), (1, 2)))
    assert tall.height > small.height and tall.width == small.width
    assert wide.width > small.width and wide.height == small.height


def test_a_footer_wider_than_the_sheet_goes_on_in_the_next_line() -> None:
    short, long = (draw_sheet(make_sheet(1, 1, "why not " * times)) for times in (2, 40))
    assert long.height > short.height and long.width == short.width
    strip = long.crop((long.width - MARGIN, short.height - 2 * MARGIN, long.width, long.height))
    assert strip.getcolors() == [(strip.width * strip.height, (255, 255, 255))]
