"""What looks like nerve and is none, drawn over phantom crops for the training of the segmentation.

K-structures, pressure lines, dendritic cells, epithelial mosaic, stromal nuclei and bright patches: light that is
added to a crop [side,side] of grey 0..1. The renderer of `ccm.phantom` keeps its own look.
"""

from __future__ import annotations

import numpy as np

Rng = np.random.Generator
GRAIN = 16  # sub-pixel steps of drawn lines, as a power of two: 4 bits


def distracted(frame: np.ndarray, rng: Rng, share: float) -> np.ndarray:
    """Add each kind of distraction with probability `share` to a crop [side,side]."""
    side = frame.shape[0]
    for kind in (k_structures, pressure_lines, dendritic_cells, epithelium, patches):
        if rng.random() < share:
            grain = 1.0 + rng.uniform(0.0, 0.3) * _blurred(
                _noise(side, rng), rng.uniform(0.5, 0.9), unit=True
            )
            frame = frame + grain * kind(side, rng)
    return frame


def background(side: int, rng: Rng) -> np.ndarray:
    """A crop without any nerve: clouds, and half the time stromal nuclei or a full epithelial mosaic."""
    crop = rng.uniform(0.08, 0.4) * np.exp(rng.uniform(0.05, 0.4) * _clouds(side, rng, 3))
    kind = rng.random()
    if kind < 0.25:
        crop = crop + nuclei(side, rng)
    elif kind < 0.6:
        crop = crop + epithelium(side, rng)
    grain = np.exp(rng.uniform(0.1, 0.35) * _blurred(_noise(side, rng), rng.uniform(0.4, 0.9), unit=True))
    return crop * grain


def k_structures(side: int, rng: Rng) -> np.ndarray:
    """One or two bands of Bowman's layer, each a bundle of soft parallel strands."""
    light = np.zeros((side, side), np.float32)
    for _ in range(rng.integers(1, 3)):
        path, aside = _band(side, rng)
        width, strands = rng.uniform(7.0, 26.0), rng.integers(2, 9)
        band = np.zeros_like(light)
        for _ in range(strands):
            wander = rng.uniform(-width, width) * (1.0 + 0.5 * np.sin(_phase(path, rng)))
            line = _drawn(side, path + (wander * rng.uniform(0.2, 1.0))[:, None] * aside, 1)
            band += rng.uniform(0.3, 1.0) * _blurred(line, rng.uniform(2.2, 6.0))
        band = band / max(float(band.max()), 1e-6)
        wide = _blurred(_drawn(side, path, int(width)), 0.4 * width)
        fading = np.clip(0.8 + 0.5 * _clouds(side, rng, 3), 0.0, 1.5)
        light += rng.uniform(0.08, 0.4) * fading * (band + rng.uniform(0.3, 1.2) * wide)
    return light


def pressure_lines(side: int, rng: Rng) -> np.ndarray:
    """Dark, nearly parallel folds across the crop."""
    path, aside = _band(side, rng)
    light = np.zeros((side, side), np.float32)
    shift, spacing = rng.uniform(-30.0, 0.0), rng.uniform(10.0, 45.0)
    for _ in range(rng.integers(1, 6)):
        line = _blurred(_drawn(side, path + shift * aside, 1), rng.uniform(1.8, 5.0))
        light -= rng.uniform(0.03, 0.2) * line / max(float(line.max()), 1e-6)
        shift += spacing * rng.uniform(0.7, 1.3)
    return light


def dendritic_cells(side: int, rng: Rng) -> np.ndarray:
    """Bright bodies of 4 to 16 px, none to five dendrites of up to 26 px on each."""
    light = np.zeros((side, side), np.float32)
    for _ in range(1 + rng.poisson(rng.choice([1.0, 5.0], p=[0.8, 0.2]))):
        centre, heading = rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi)
        cell = _drawn(side, _arm(centre, heading, rng.uniform(2, 12), rng), int(rng.integers(2, 6)))
        for _ in range(rng.choice([0, 1, 2, 3, 5], p=[0.35, 0.15, 0.25, 0.15, 0.1])):
            turn = heading + rng.choice([0.0, np.pi]) + rng.normal(0, 0.5)
            cell = np.maximum(
                cell, rng.uniform(0.4, 0.9) * _drawn(side, _arm(centre, turn, rng.uniform(6, 26), rng), 1)
            )
        light = np.maximum(light, rng.uniform(0.2, 0.9) * cell)
    return _blurred(light, rng.uniform(0.7, 1.2))


def epithelium(side: int, rng: Rng) -> np.ndarray:
    """A patch of cells with bright borders (or bright cells): distances to the two nearest of jittered centres."""
    import cv2
    from scipy.spatial import KDTree

    spacing = rng.uniform(3.5, 11.0)  # at half the resolution
    half = side // 2
    lattice = np.stack(np.meshgrid(*[np.arange(-spacing, half + spacing, spacing)] * 2), axis=-1).reshape(
        -1, 2
    )
    centres = lattice + rng.uniform(-0.45, 0.45, lattice.shape) * spacing
    places = np.stack(np.meshgrid(np.arange(half), np.arange(half)), axis=-1).reshape(-1, 2)
    near = KDTree(centres).query(places, k=2)[0].astype(np.float32)
    borders = np.exp(-(((near[:, 1] - near[:, 0]) / (0.22 * spacing)) ** 2)).reshape(half, half)
    cells = cv2.resize(borders - borders.mean(), (side, side), interpolation=cv2.INTER_CUBIC)
    where = 1.0 / (1.0 + np.exp(-3.0 * (_clouds(side, rng, 3) + rng.uniform(-1.0, 1.5))))
    return (rng.choice([1.0, 1.0, -1.0]) * rng.uniform(0.03, 0.3) * cells * where).astype(np.float32)


def nuclei(side: int, rng: Rng) -> np.ndarray:
    """Bright oval nuclei of keratocytes, 6 to 16 px long."""
    import cv2

    light = np.zeros((side, side), np.float32)
    for _ in range(rng.integers(4, 40)):
        axes = (int(rng.integers(3, 9)), int(rng.integers(2, 5)))
        centre = tuple(rng.integers(0, side, 2).tolist())
        cv2.ellipse(light, centre, axes, rng.uniform(0, 180), 0, 360, rng.uniform(0.1, 0.6), -1)
    return _blurred(light, rng.uniform(0.8, 2.0))


def patches(side: int, rng: Rng) -> np.ndarray:
    """One or two bright flecks with a grainy surface, up to a quarter of the crop wide."""
    place = np.indices((side, side), dtype=np.float32)
    light = np.zeros((side, side), np.float32)
    for _ in range(rng.integers(1, 3)):
        centre, radius = rng.uniform(0, side, 2), rng.uniform(4.0, 24.0, 2)
        far = sum(((axis - at) / size) ** 2 for axis, at, size in zip(place, centre, radius, strict=True))
        light += rng.uniform(0.1, 0.6) * np.exp(-(far**2))
    return light * np.clip(0.7 + 0.6 * _blurred(_noise(side, rng), 1.2, unit=True), 0.0, 2.0)


def _band(side: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A gently bent path across the crop [N,2], and the unit vector across it."""
    angle, t = rng.uniform(0, np.pi), np.linspace(-0.9, 0.9, 120)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    bend = rng.uniform(0.0, 0.1) * np.sin(rng.uniform(1.5, 5.0) * t + rng.uniform(0, 6.28)) + rng.uniform(
        -0.4, 0.4
    )
    return side * (0.5 + t[:, None] * along + bend[:, None] * across), across


def _phase(path: np.ndarray, rng: Rng) -> np.ndarray:
    return rng.uniform(2.0, 9.0) * np.linspace(0, 1, len(path)) + rng.uniform(0, 6.28)


def _arm(start: np.ndarray, heading: float, length: float, rng: Rng) -> np.ndarray:
    at = np.linspace(0.0, length, 8)
    turns = heading + rng.uniform(-0.9, 0.9) * at / length
    return start + np.stack([at * np.cos(turns), at * np.sin(turns)], axis=1)


def _drawn(side: int, path: np.ndarray, thickness: int) -> np.ndarray:
    import cv2

    canvas = np.zeros((side, side), np.uint8)
    points = np.round(path * GRAIN).astype(np.int32)[:, None]
    cv2.polylines(canvas, [points], False, 255, max(thickness, 1), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _noise(side: int, rng: Rng) -> np.ndarray:
    return rng.standard_normal((side, side), dtype=np.float32)


def _blurred(field: np.ndarray, sigma: float, unit: bool = False) -> np.ndarray:
    import cv2

    soft = cv2.GaussianBlur(field, (0, 0), sigma)
    return soft / max(float(soft.std()), 1e-6) if unit else soft


def _clouds(side: int, rng: Rng, cells: int) -> np.ndarray:
    """A smooth random field of unit deviation."""
    import cv2

    coarse = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    field = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return field / max(float(field.std()), 1e-6)
