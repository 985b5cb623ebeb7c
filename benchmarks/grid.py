"""Pictures side by side, with a title over each column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

TITLE_PX = 18
GAP_PX = 4


def picture_grid(titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> Image.Image:
    """Arrange grey pictures, uint8 [H,W] of one size, in rows under the titles of their columns."""
    height, width = rows[0][0].shape
    step_x, step_y = width + GAP_PX, height + GAP_PX
    sheet = Image.new("L", (step_x * len(titles) - GAP_PX, TITLE_PX + step_y * len(rows) - GAP_PX), 255)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((column * step_x + GAP_PX, GAP_PX), title, fill=0)
    for line, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (column * step_x, TITLE_PX + line * step_y))
    return sheet
