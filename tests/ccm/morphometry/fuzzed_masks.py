"""Anything that may be handed over as a nerve mask: 2,000 seeds make 2,000 different inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Random = np.random.Generator
TYPES = (bool, np.uint8, np.int16, ">u2", np.int64, np.float16, np.float32, np.float64)


@dataclass(frozen=True)
class Input:
    """Arguments of a measurement, and whether it must be refused."""

    name: str
    mask: np.ndarray
    um_per_px: float
    field_of_view: np.ndarray | None
    refused: bool


def fuzzed_input(seed: int) -> Input:
    """A picture of any size, spoiled every fifth time, with a field of view every third time."""
    rng = np.random.default_rng(seed)
    longest = 2500 if seed % 100 == 99 else 600
    shape = tuple(np.exp(rng.uniform(0.0, math.log(longest), 2)).astype(int).tolist())
    kind = str(rng.choice(list(PICTURES)))
    picture = PICTURES[kind](rng, shape)
    field = _field_of_view(rng, shape) if seed % 3 == 0 else None
    refused = seed % 5 == 0
    treatment = str(rng.choice(list(SPOILED if refused else TREATED)))
    mask = (SPOILED if refused else TREATED)[treatment](rng, picture)
    um_per_px = float(np.exp(rng.uniform(math.log(0.1), math.log(100.0))))
    return Input(f"{kind}, {treatment}, {shape}", mask, um_per_px, field, refused)


def _field_of_view(rng: Random, shape: tuple[int, int]) -> np.ndarray:
    """A circle or a box that shows at least one pixel."""
    rows, columns = np.indices(shape)
    row, column = rng.integers(shape[0]), rng.integers(shape[1])
    reach = rng.uniform(0.0, 1.0) * max(shape)
    if rng.random() < 0.5:
        return np.hypot(rows - row, columns - column) <= reach
    return (np.abs(rows - row) <= reach) & (np.abs(columns - column) <= rng.uniform(0.0, 1.0) * max(shape))


def _clouds(rng: Random, shape: tuple[int, int]) -> np.ndarray:
    coarse = rng.random((shape[0] // 6 + 2, shape[1] // 6 + 2))
    rows, columns = (
        np.linspace(0, n - 1.001, m).astype(int) for n, m in zip(coarse.shape, shape, strict=True)
    )
    return coarse[rows][:, columns]


def _boxes(rng: Random, shape: tuple[int, int]) -> np.ndarray:
    picture = np.zeros(shape, dtype=bool)
    for _ in range(12):
        row, column = rng.integers(shape[0]), rng.integers(shape[1])
        picture[row : row + rng.integers(1, 60), column : column + rng.integers(1, 60)] ^= True
    return picture


def _with_one(picture: np.ndarray, rng: Random, value: float) -> np.ndarray:
    spoiled = picture.astype(np.float32)
    spoiled.flat[rng.integers(spoiled.size)] = value
    return spoiled


PICTURES: dict[str, Callable[[Random, tuple[int, int]], np.ndarray]] = {  # bool [H,W]
    "noise": lambda rng, shape: rng.random(shape) < rng.uniform(0.01, 0.99),
    "clouds": lambda rng, shape: _clouds(rng, shape) > 0.5,
    "inverted clouds": lambda rng, shape: _clouds(rng, shape) < 0.45,
    "constant": lambda rng, shape: np.full(shape, rng.integers(2), dtype=bool),
    "chequers": lambda rng, shape: np.indices(shape).sum(axis=0) // rng.integers(1, 5) % 2 == 0,
    "stripes": lambda rng, shape: np.indices(shape)[rng.integers(2)] // rng.integers(1, 9) % 2 == 0,
    "rings": lambda rng, shape: np.hypot(*np.indices(shape)) // rng.integers(1, 9) % 4 == 0,
    "dots": lambda rng, shape: rng.random(shape) < 0.02,
    "boxes": _boxes,
    "one pixel": lambda rng, shape: (
        np.arange(math.prod(shape)).reshape(shape) == rng.integers(math.prod(shape))
    ),
}
TREATED: dict[str, Callable[[Random, np.ndarray], np.ndarray]] = {  # still masks
    "of any type": lambda rng, picture: picture.astype(TYPES[rng.integers(len(TYPES))]),
    "8-bit": lambda rng, picture: 255 * picture.astype(np.uint8),
    "16-bit": lambda rng, picture: 65535 * picture.astype(np.uint16),
    "inverted": lambda rng, picture: ~picture,
    "negative": lambda rng, picture: -picture.astype(np.int32),
    "soft": lambda rng, picture: 0.6 * picture + 0.4 * rng.random(picture.shape),
    "upside down": lambda rng, picture: picture[::-1, ::-1],
    "column by column": lambda rng, picture: np.asfortranarray(picture),
    "huge values": lambda rng, picture: picture * 1e300,
}
SPOILED: dict[str, Callable[[Random, np.ndarray], np.ndarray]] = {  # no masks
    "NaN": lambda rng, picture: _with_one(picture, rng, math.nan),
    "infinite": lambda rng, picture: _with_one(picture, rng, -math.inf),
    "RGB": lambda rng, picture: np.repeat(picture[..., None], 3, axis=2),
    "RGBA": lambda rng, picture: np.repeat(picture[..., None], 4, axis=2).astype(np.uint8),
    "a batch": lambda rng, picture: picture[None],
    "a row": lambda rng, picture: picture.ravel(),
    "no pixels": lambda rng, picture: picture[:, :0],
    "text": lambda rng, picture: picture.astype(str),
    "objects": lambda rng, picture: picture.astype(object),
    "dates": lambda rng, picture: picture.astype("datetime64[s]"),
    "too long": lambda rng, picture: np.ones((40000, 1)),
}
