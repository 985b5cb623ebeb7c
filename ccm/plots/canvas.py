"""A sheet to draw on in pixels, and axes that turn values into pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Point = tuple[float, float]
Colour = tuple[int, int, int]

OVERSAMPLED = 2  # drawn this much larger and reduced, so that edges are smooth
PAPER: Colour = (255, 255, 255)
INK: Colour = (34, 34, 34)
FAINT: Colour = (200, 200, 200)
BAND: Colour = (226, 239, 226)
BLUE: Colour = (0, 114, 178)  # blue and orange of Okabe and Ito, told apart by colour-blind readers
ORANGE: Colour = (213, 94, 0)
TEXT_PX = 14


@dataclass(frozen=True)
class Axis:
    """A linear map from values low..high to pixels start..end."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float) -> Axis:
        """An axis that holds all values with a margin of 6 %; one single value gets 1 on either side."""
        known = [value for value in values if math.isfinite(value)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        pad = 0.06 * (high - low) or 1.0
        return cls(low - pad, high + pad, start, end)

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About six round values: steps of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / 7.0
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough)
        first = math.ceil(self.low / step)
        return [round(n * step, 12) for n in range(first, math.floor(self.high / step) + 1)]


class Canvas:
    """A white sheet; positions and widths are in pixels of the finished figure."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self._image = Image.new("RGB", (width * OVERSAMPLED, height * OVERSAMPLED), PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self.width, self.height = width, height

    def line(self, points: Sequence[Point], colour: Colour = INK, width: float = 1.0) -> None:
        """Draw a line through points."""
        self._draw.line(_scaled(points), fill=colour, width=max(1, round(width * OVERSAMPLED)))

    def dashes(self, a: Point, b: Point, colour: Colour = INK) -> None:
        """Draw a dashed line from a to b."""
        count = max(1, round(math.dist(a, b) / 10.0))
        steps = [(a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s) for s in np.linspace(0, 1, 2 * count)]
        for start, end in zip(steps[::2], steps[1::2], strict=True):
            self.line([start, end], colour)

    def area(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon(_scaled(points), fill=colour)

    def box(self, a: Point, b: Point, colour: Colour) -> None:
        """Fill a rectangle between two corners."""
        self.area([a, (b[0], a[1]), b, (a[0], b[1])], colour)

    def dot(self, at: Point, colour: Colour, radius: float = 3.0) -> None:
        """Fill a circle."""
        (x, y), r = at, radius
        self._draw.ellipse(_scaled([(x - r, y - r), (x + r, y + r)]), fill=colour)

    def text(
        self, at: Point, text: str, anchor: str = "lm", colour: Colour = INK, size_px: int = TEXT_PX
    ) -> None:
        """Write text; the anchor is Pillow's: l, m or r across, a, m or d down."""
        self._draw.text(_scaled([at])[0], text, fill=colour, font=_font(size_px * OVERSAMPLED), anchor=anchor)

    def paste(self, frame: np.ndarray, at: Point, side: int) -> None:
        """Put a grey frame [H,W] in 0..1 into a square of that side, its corner at `at`."""
        from PIL import Image

        levels = np.round(np.clip(frame, 0.0, 1.0) * 255.0).astype(np.uint8)
        scaled = Image.fromarray(levels).resize((side * OVERSAMPLED, side * OVERSAMPLED))
        x, y = _scaled([at])[0]
        self._image.paste(scaled.convert("RGB"), (round(x), round(y)))

    def array(self) -> np.ndarray:
        """The finished figure, float32 [height,width,3] in 0..1."""
        return np.asarray(self._image.reduce(OVERSAMPLED), dtype=np.float32) / 255.0


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(x * OVERSAMPLED, y * OVERSAMPLED) for x, y in points]


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
