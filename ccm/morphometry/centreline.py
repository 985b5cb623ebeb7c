"""Sub-pixel centre-lines: smoothing splines through pixel chains, nerve ends, and widths across them."""

from __future__ import annotations

import numpy as np

SMOOTH_PX = 18.0  # waves shorter than this, in pixels and in units of the HRT3-RCM pixel, are pixel stairs
SMOOTH_UM = 18.75
BLOCK = 8192  # points that are sampled at once, to bound the memory
OPEN_FACTOR = 1.5  # an outline further away than so many half-widths is not the nerve's own
MAP_COLUMNS = 1024  # OpenCV maps hold at most 32767 columns and rows
MAP_ROWS = 16384
STEP_PX = 0.5  # sampling step of the searches for a nerve's end and for its outline
FEW_STEPS = 8  # they reach most outlines


def smooth(
    points: np.ndarray, weights: np.ndarray, offsets: np.ndarray, closed: np.ndarray, um_per_px: float
) -> np.ndarray:
    """Smoothing splines through all chains of points at once, [N,2].

    points: [N,2], chain after chain. weights: [N], 0 where a point must not pull. offsets: [C+1]. closed: [C], rings,
    which are run over three times, so that they have no ends.
    """
    if not closed.any():
        return _smooth_open(points, weights, offsets, um_per_px)
    order, keep = [], []
    for start, length, ring in zip(offsets, np.diff(offsets), closed, strict=False):
        laps = np.arange(-length, 2 * length) if ring else np.arange(length)
        order.append(start + laps % length)
        keep.append((laps >= 0) & (laps < length))
    rows = np.concatenate(order)
    seams = np.append(0, np.cumsum([len(row) for row in order]))
    return _smooth_open(points[rows], weights[rows], seams, um_per_px)[np.concatenate(keep)]


def _smooth_open(
    points: np.ndarray, weights: np.ndarray, offsets: np.ndarray, um_per_px: float
) -> np.ndarray:
    """Smoothing splines through open chains.

    Whittaker 1923 with third differences: minimise sum w |z - y|^2 + lambda sum |D^3 z|^2, chain by chain. The
    filter's gain is 1 / (1 + lambda k^6), half at the wavelength 2 pi lambda^(1/6). Third differences leave
    parabolas alone, so ends and bends do not shrink.
    """
    from scipy.linalg import solveh_banded

    if len(points) < 4:
        return points.copy()
    wavelength = max(SMOOTH_PX, SMOOTH_UM / um_per_px)
    penalty = np.full(len(points) - 3, (wavelength / (2.0 * np.pi)) ** 6)
    for back in (1, 2, 3):  # no difference reaches over the end of a chain
        seam = offsets[1:-1] - back
        penalty[seam[(seam >= 0) & (seam < len(penalty))]] = 0.0
    weights = np.maximum(weights, 1e-3)
    bands = np.zeros((4, len(points)))
    bands[3] = weights
    difference = (-1.0, 3.0, -3.0, 1.0)
    for a in range(4):
        for b in range(a, 4):
            bands[3 - (b - a), b : b + len(penalty)] += difference[a] * difference[b] * penalty
    return solveh_banded(bands, (weights * points.T).T, overwrite_b=True, check_finite=False)


def reach_of_ends(
    tips: np.ndarray, outward: np.ndarray, radius: np.ndarray, mask: np.ndarray, field: np.ndarray | None
) -> np.ndarray:
    """How far [E], in pixels, each of E nerves goes on from its tip [E,2] along `outward` [E,2].

    A nerve that leaves the field goes to the field's edge. One that ends inside goes to where a round cap of its
    half-width, radius [E], touches the end of the mask, which may lie behind the tip.
    """
    if len(tips) == 0:
        return np.zeros(0)
    steps = np.arange(0.0, 8.0 * float(radius.max()) + 12.0, STEP_PX)
    x = tips[:, :1] + outward[:, :1] * steps
    y = tips[:, 1:] + outward[:, 1:] * steps
    in_mask = _first_below(sample(mask, x, y).T)
    in_field = _to_frame(tips, outward, mask.shape)
    if field is not None:
        in_field = np.minimum(in_field, _first_below(sample(field, x, y).T))
    return np.where(in_field <= in_mask, in_field, in_mask - radius)


def _first_below(values: np.ndarray) -> np.ndarray:
    """Distance [A] in pixels at which columns of samples [B,A], STEP_PX apart, first fall below one half."""
    below = values < 0.5
    after = np.where(below.any(axis=0), below.argmax(axis=0), len(values) - 1)
    before = np.maximum(after - 1, 0)
    columns = np.arange(values.shape[1])
    high, low = values[before, columns], values[after, columns]
    share = np.where(high > low, (high - 0.5) / np.maximum(high - low, 1e-6), 1.0)
    return np.clip(before + share, 0.0, after) * STEP_PX


def _to_frame(tips: np.ndarray, outward: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Distance [E] in pixels from tips [E,2] along `outward` to the border of the frame."""
    border = np.where(outward > 0, np.array([shape[1], shape[0]], dtype=float), 0.0)
    distance = np.full_like(outward, np.inf)
    np.divide(border - tips, outward, out=distance, where=np.abs(outward) > 1e-9)
    return distance.min(axis=1)


def in_field(points: np.ndarray, shape: tuple[int, ...], field: np.ndarray | None) -> np.ndarray:
    """Whether points [N,2] lie in the frame, and in the field of view if there is one."""
    x, y = points.T
    inside = (x >= 0) & (y >= 0) & (x <= shape[1]) & (y <= shape[0])
    return inside if field is None else inside & (sample(field, x, y) >= 0.5)


def sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values of picture [H,W] at pixel coordinates x, y (same shape); the border goes on outside."""
    import cv2

    size = x.size
    rows = -(-size // MAP_COLUMNS)
    maps = np.empty((2, rows * MAP_COLUMNS), dtype=np.float32)
    maps[:, size:] = 0.0
    np.subtract(x.ravel(), 0.5, out=maps[0, :size], casting="same_kind")
    np.subtract(y.ravel(), 0.5, out=maps[1, :size], casting="same_kind")
    maps = maps.reshape(2, rows, MAP_COLUMNS)
    values = np.empty((rows, MAP_COLUMNS), dtype=np.float32)
    for row in range(0, rows, MAP_ROWS):
        part = slice(row, row + MAP_ROWS)
        values[part] = cv2.remap(
            picture, maps[0, part], maps[1, part], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return values.ravel()[:size].reshape(x.shape)


def normals(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Unit normals [N,2] of chains of points [N,2]."""
    along = np.zeros_like(points)
    if len(points) < 2:
        return along
    along[1:-1] = points[2:] - points[:-2]
    first, last = offsets[:-1], offsets[1:] - 1
    many = last > first
    along[first[many]] = points[first[many] + 1] - points[first[many]]
    along[last[many]] = points[last[many]] - points[last[many] - 1]
    along[first[~many]] = 0.0
    norm = np.maximum(np.hypot(*along.T), 1e-9)
    return np.stack([-along[:, 1], along[:, 0]], axis=1) / norm[:, None]


def to_outline(points: np.ndarray, normal: np.ndarray, reach: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Distance [2,N] in pixels from points [N,2] along +normal and -normal to where the mask ends.

    The bilinear mask ends where it falls below one half; it is followed for at least `reach` [N] pixels.
    """
    sides = np.zeros((2, len(points)))
    start, along = points.T.astype(np.float32), normal.T.astype(np.float32)
    for first in range(0, len(points), BLOCK):
        part = slice(first, first + BLOCK)
        steps = np.arange(0.0, float(reach[part].max()) + STEP_PX, STEP_PX, dtype=np.float32)
        for side, sign in enumerate((1.0, -1.0)):
            sides[side, part] = _way_out(start[:, part], sign * along[:, part], steps, mask)
    return sides


def _way_out(start: np.ndarray, along: np.ndarray, steps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Distance [N] in pixels from points [2,N] along unit vectors [2,N] to where the mask ends, within `steps`.

    Most ways are short: only those that are not are sampled at all steps.
    """
    values = _sample_ways(start, along, steps[:FEW_STEPS], mask)
    distance = _first_below(values)
    far = np.flatnonzero((values >= 0.5).all(axis=0))
    if len(far) and len(steps) > FEW_STEPS:
        distance[far] = _first_below(_sample_ways(start[:, far], along[:, far], steps, mask))
    return distance


def _sample_ways(start: np.ndarray, along: np.ndarray, steps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Bilinear values [B,N] of a mask at `steps` [B] from each of N <= 8192 points [2,N] along [2,N]."""
    import cv2

    maps = along[:, None] * steps[:, None]
    maps += start[:, None]
    maps -= 0.5
    return cv2.remap(mask, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def widths_from(sides: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    """Width [N] in pixels from the outline's distance on both sides, [2,N].

    A side that runs on for more than 1.5 usual half-widths [N] + 1 pixel lies in a junction, and the other side
    stands in for it.
    """
    limit = OPEN_FACTOR * half_width + 1.0
    shorter = np.minimum(sides.min(axis=0), limit)
    return np.where(sides > limit, shorter, sides).sum(axis=0)


def shift_to_centre(
    points: np.ndarray,
    normal: np.ndarray,
    sides: np.ndarray,
    half_width: np.ndarray,
    shape: tuple[int, ...],
    field: np.ndarray | None,
) -> np.ndarray:
    """Shift [N,2] from points on a nerve to its centre, given the outline's distance on both sides, [2,N].

    The centre is the middle between the outlines; where a side lies in a junction there is no shift. Where the edge
    of the field cuts the nerve lengthwise, the middle of the seen part is not the centre: there the centre lies one
    half-width of the nerve, [N] (0 if unknown), from the outline on the inner side.
    """
    longer = sides.max(axis=0)
    shift = np.where(longer <= OPEN_FACTOR * half_width + 1.0, 0.5 * (sides[0] - sides[1]), 0.0)
    cut = np.zeros(sides.shape, dtype=bool)
    near = np.flatnonzero(
        ((points - longer[:, None] <= 0) | (points + longer[:, None] >= shape[::-1])).any(axis=1)
    )
    for side, way in enumerate((normal[near], -normal[near])):
        cut[side, near] = _to_frame(points[near], way, shape) <= sides[side, near]
    if field is not None:
        cut |= to_outline(points, normal, longer, field) <= sides
    cut &= half_width > 0
    shift = np.where(cut[0] & ~cut[1], half_width - sides[1], shift)
    shift = np.where(cut[1] & ~cut[0], sides[0] - half_width, shift)
    return shift[:, None] * normal
