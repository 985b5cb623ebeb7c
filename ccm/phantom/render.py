"""A nerve tree rendered as a frame that looks like corneal confocal microscopy.

The picture is built in the order in which light makes it:

    nerves (sharp and out of focus) + stroma (haze, cell mosaic, K-structures, dendritic cells)
    -> illumination -> speckle and shot noise -> scan lines -> detector

A nerve is a row of light points spread by a Gaussian of its own width, so that position, width and
brightness are all sub-pixel. The appearance parameters are drawn per frame; those that differ between
cohorts are listed in `COHORT_APPEARANCE` with their sources.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..cohorts import Cohort
from ..images import FIELD_PX, UM_PER_PX
from .curves import headings_of
from .topology import NerveTree

SIGMAS_PX = (0.65, 0.9, 1.25, 1.8)  # nerve profiles, narrow to wide
FOCUS_SIGMA_PX = 3.5  # profile of a nerve above or below the focal plane
COARSE = 4  # slow fields are made at a quarter of the frame's resolution
# Two points per pixel of length: their blurred line peaks at 2 / (sqrt(2 pi) sigma).
POINT_PEAK = np.sqrt(2 * np.pi) / 2
FWHM = 2.3548  # full width at half maximum of a Gaussian of unit sigma


@dataclass(frozen=True)
class Appearance:
    """How one frame looks. Brightnesses are grey levels 0..1, lengths are um.

    Attributes:
        background: mean grey level of the stroma.
        nerve_contrast: brightness of a main fibre above the background.
        branch_contrast: brightness of a branch relative to a main fibre.
        width_factor: nerve width relative to the tree's own widths.
        beading: log-amplitude of brightness along a nerve.
        bead_spacing_um: mean distance between beads.
        defocus: share of the field in which nerves sink out of focus, 0..1.
        haze: amplitude of the slow background clouds relative to the background.
        mosaic: amplitude of the epithelial cell mosaic relative to the background.
        k_structures: number of K-structure bands.
        dendritic_cells: number of dendritic cells.
        vignette: loss of light in the corners, 0..1.
        speckle: relative amplitude of the multiplicative speckle.
        raggedness_um: sideways wander of a nerve about its centre-line, standard deviation.
        read_noise: standard deviation of the additive noise.
        row_jitter_px: horizontal displacement of scan lines, standard deviation.
    """

    background: float = 0.24
    nerve_contrast: float = 0.5
    branch_contrast: float = 0.55
    width_factor: float = 1.0
    beading: float = 0.3
    bead_spacing_um: float = 12.0
    defocus: float = 0.2
    haze: float = 0.25
    mosaic: float = 0.08
    k_structures: int = 0
    dendritic_cells: int = 0
    vignette: float = 0.45
    speckle: float = 0.28
    raggedness_um: float = 0.5
    read_noise: float = 0.02
    row_jitter_px: float = 0.15


@dataclass(frozen=True)
class CohortAppearance:
    """Means of the appearance parameters that a cohort moves, each with its source."""

    nerve_contrast: float
    width_factor: float
    beading: float
    dendritic_cells: float
    source: str


COHORT_APPEARANCE = {
    Cohort.CONTROL: CohortAppearance(0.56, 1.0, 0.32, 0.5, "assumed: reference appearance"),
    Cohort.T1NODPN: CohortAppearance(
        0.46,
        0.9,
        0.42,
        2.0,
        "assumed; direction after Tavakoli 2011 (more dendritic cells in diabetes, most in mild neuropathy)",
    ),
    Cohort.T1DPN: CohortAppearance(
        0.35,
        0.78,
        0.55,
        2.5,
        "assumed; direction of the dendritic cells after Tavakoli 2011",
    ),
}


def sample_appearance(cohort: Cohort, rng: np.random.Generator) -> Appearance:
    """Draw the appearance of one frame of a cohort; neighbouring cohorts overlap, as real ones do."""
    mean = COHORT_APPEARANCE[cohort]
    return Appearance(
        background=rng.uniform(0.28, 0.52),
        nerve_contrast=mean.nerve_contrast * rng.uniform(0.82, 1.2),
        branch_contrast=rng.uniform(0.35, 0.65),
        width_factor=mean.width_factor * rng.uniform(0.9, 1.1),
        beading=mean.beading * rng.uniform(0.75, 1.3),
        bead_spacing_um=rng.uniform(9.0, 16.0),
        defocus=rng.uniform(0.0, 0.25),
        haze=rng.uniform(0.04, 0.15),
        mosaic=rng.uniform(0.02, 0.12),
        k_structures=int(rng.choice([0, 0, 0, 1, 2])),
        dendritic_cells=int(rng.poisson(mean.dendritic_cells)),
        vignette=rng.uniform(0.35, 0.8),
        speckle=rng.uniform(0.11, 0.19),
        raggedness_um=rng.uniform(0.35, 0.7),
        read_noise=rng.uniform(0.008, 0.02),
        row_jitter_px=rng.uniform(0.05, 0.3),
    )


def sample_generic_appearance(rng: np.random.Generator) -> Appearance:
    """Draw from far wider ranges than any cohort: what the base model is trained on."""
    return Appearance(
        background=rng.uniform(0.1, 0.55),
        nerve_contrast=rng.uniform(0.25, 0.75),
        branch_contrast=rng.uniform(0.3, 1.0),
        width_factor=rng.uniform(0.7, 1.6),
        beading=rng.uniform(0.0, 0.7),
        bead_spacing_um=rng.uniform(6.0, 24.0),
        defocus=rng.uniform(0.0, 0.4),
        haze=rng.uniform(0.0, 0.3),
        mosaic=rng.uniform(0.0, 0.15),
        k_structures=int(rng.poisson(0.6)),
        dendritic_cells=int(rng.poisson(2.0)),
        vignette=rng.uniform(0.0, 0.8),
        speckle=rng.uniform(0.06, 0.3),
        raggedness_um=rng.uniform(0.0, 0.9),
        read_noise=rng.uniform(0.005, 0.04),
        row_jitter_px=rng.uniform(0.0, 0.4),
    )


def without_grain(appearance: Appearance) -> Appearance:
    """The same look without speckle and noise: what chance draws for the rest of a frame stays as it is."""
    return replace(appearance, speckle=0.0, read_noise=0.0)


def render(
    tree: NerveTree,
    appearance: Appearance,
    rng: np.random.Generator,
    size_px: tuple[int, int] = (FIELD_PX, FIELD_PX),
    um_per_px: float = UM_PER_PX,
) -> np.ndarray:
    """Render a tree as a grey frame, float32 [H,W] in 0..1.

    `size_px` is (height, width). The tree's geometry is kept: scan-line jitter stays below one pixel.
    """
    import cv2

    canvas = _Canvas(size_px, um_per_px, rng)
    nerves = _nerve_layer(tree, appearance, canvas)
    light = appearance.background * _stroma(appearance, canvas)
    light += 1.0 - np.exp(-nerves)  # bright nerves saturate
    if appearance.dendritic_cells:
        light += _dendritic_cells(appearance.dendritic_cells, canvas)
    light *= _illumination(appearance.vignette, canvas)
    light *= _speckle(appearance.speckle, canvas)
    light += appearance.read_noise * canvas.normal()
    light *= 1.0 + 0.012 * rng.standard_normal((size_px[0], 1)).astype(np.float32)
    rows = _smooth_rows(rng, size_px[0]) * min(appearance.row_jitter_px, 0.5)
    y, x = np.indices(size_px, dtype=np.float32)
    frame = cv2.remap(light, x + rows[:, None], y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return frame.clip(0.0, 1.0)


class _Canvas:
    """Pixel geometry and random fields of one frame."""

    def __init__(self, size_px: tuple[int, int], um_per_px: float, rng: np.random.Generator) -> None:
        self.height, self.width = size_px
        self.um_per_px = um_per_px
        self.rng = rng

    def normal(self, shrink: int = 1) -> np.ndarray:
        """White noise [H/shrink,W/shrink] of zero mean and unit variance.

        The sum of four uniform numbers, within 1 % of a Gaussian's distribution and twice as fast.
        """
        height, width = -(-self.height // shrink), -(-self.width // shrink)
        planes = self.rng.bit_generator.random_raw(height * width).view(np.uint16).reshape(4, height, width)
        noise = planes[0].astype(np.float32)
        for plane in planes[1:]:
            noise += plane
        noise -= 2 * 65535.0
        noise *= np.sqrt(3.0) / 65536.0
        return noise

    def smooth(self, cells: int) -> np.ndarray:
        """A smooth random field [H/4,W/4], unit variance, with `cells` random values across the frame."""
        import cv2

        coarse = self.rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
        field = cv2.resize(coarse, self.coarse_size(), interpolation=cv2.INTER_CUBIC)
        return field / max(float(field.std()), 1e-6)

    def shrunk(self, factor: int) -> _Canvas:
        """The same field with pixels `factor` times as large, sharing the random generator."""
        size = (self.height // factor, self.width // factor)
        return _Canvas(size, self.um_per_px * factor, self.rng)

    def coarse_size(self) -> tuple[int, int]:
        """Width and height of the fields that change slowly: a quarter of the frame's."""
        return max(2, self.width // COARSE), max(2, self.height // COARSE)

    def enlarge(self, field: np.ndarray) -> np.ndarray:
        """Bring a slow field [H/4,W/4] to the frame's size [H,W]."""
        import cv2

        return cv2.resize(field.astype(np.float32), (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def splat(self, xy_um: np.ndarray, light: np.ndarray) -> np.ndarray:
        """Spread points (x, y in um) with their light bilinearly onto pixels, [H,W]."""
        padded = np.zeros((self.height + 2, self.width + 2), np.float32)
        self.splat_onto(padded, xy_um, light)
        return padded[1:-1, 1:-1]

    def splat_onto(self, padded: np.ndarray, xy_um: np.ndarray, light: np.ndarray) -> None:
        """Add points to a layer with one pixel of padding, [H+2,W+2]."""
        p = xy_um / self.um_per_px + 0.5
        limits = np.array([self.width, self.height]) + 1.0
        inside = np.flatnonzero(((p >= 0) & (p < limits)).all(axis=1))
        p, light = p[inside], light[inside].astype(np.float32)
        base = p.astype(np.intp)
        fx, fy = (p - base).T.astype(np.float32)
        start = base[:, 1] * padded.shape[1] + base[:, 0]
        flat, upper, lower = padded.reshape(-1), light * (1 - fy), light * fy
        np.add.at(flat, start, upper * (1 - fx))
        np.add.at(flat, start + 1, upper * fx)
        np.add.at(flat, start + padded.shape[1], lower * (1 - fx))
        np.add.at(flat, start + padded.shape[1] + 1, lower * fx)


def _nerve_layer(tree: NerveTree, appearance: Appearance, canvas: _Canvas) -> np.ndarray:
    """Optical density of all nerves, [H,W]."""
    if not tree.nerves:
        return np.zeros((canvas.height, canvas.width), np.float32)
    step_um, rng = 0.5 * canvas.um_per_px, canvas.rng
    lines = [_resample(nerve.points_um, nerve.width_um, step_um) for nerve in tree.nerves]
    contrast = appearance.nerve_contrast * rng.uniform(0.6, 1.25, len(lines))
    contrast[[nerve.role != "main" for nerve in tree.nerves]] *= appearance.branch_contrast
    xy = np.concatenate([line for line, _ in lines])
    light = np.repeat(contrast, [len(line) for line, _ in lines])
    light = light * _beads(len(xy), step_um, appearance, rng)
    xy = _ragged(xy, step_um, appearance.raggedness_um, rng)
    sharp = _at(_focus(appearance.defocus, canvas), xy, canvas)
    width = np.concatenate([width for _, width in lines])
    sigma = appearance.width_factor * width / canvas.um_per_px / FWHM
    blurred = light * (1 - sharp) * (sigma / SIGMAS_PX[1])  # a thin nerve has little light to spread
    return 2.4 * (_sharp(xy, light * sharp, sigma, canvas) + _blurred(xy, blurred, canvas))


def _sharp(xy: np.ndarray, light: np.ndarray, sigma: np.ndarray, canvas: _Canvas) -> np.ndarray:
    """Points [N,2] spread with the nearest of SIGMAS_PX, [H,W].

    From the widest profile to the narrowest: what is there is blurred by what the next profile lacks.
    """
    import cv2

    edges = np.sqrt(np.multiply(SIGMAS_PX[:-1], SIGMAS_PX[1:]))
    profile = np.searchsorted(edges, sigma)
    layer = np.zeros((canvas.height + 2, canvas.width + 2), np.float32)
    for k in reversed(range(len(SIGMAS_PX))):
        use = profile == k
        canvas.splat_onto(layer, xy[use], light[use] * (SIGMAS_PX[k] * POINT_PEAK))
        below = SIGMAS_PX[k - 1] if k else 0.0
        cv2.GaussianBlur(layer, (0, 0), np.sqrt(SIGMAS_PX[k] ** 2 - below**2), dst=layer)
    return layer[1:-1, 1:-1]


def _blurred(xy: np.ndarray, light: np.ndarray, canvas: _Canvas) -> np.ndarray:
    """Points [N,2] above or below the focal plane, wide and faint, [H,W]."""
    import cv2

    small = canvas.shrunk(2)
    points = small.splat(xy, light * (0.2 * FOCUS_SIGMA_PX * POINT_PEAK / 4))
    return canvas.enlarge(cv2.GaussianBlur(points, (0, 0), FOCUS_SIGMA_PX / 2))


def _resample(points_um: np.ndarray, width_um: np.ndarray, step_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Points every `step_um` along a polyline, with the width there."""
    step = np.hypot(*np.diff(points_um, axis=0).T)
    arc = np.concatenate([[0.0], np.cumsum(step)])
    at = np.arange(0.0, max(arc[-1], step_um), step_um)
    xy = np.stack([np.interp(at, arc, points_um[:, k]) for k in (0, 1)], axis=1)
    return xy, np.interp(at, arc, np.broadcast_to(width_um, (len(points_um),)))


def _beads(n: int, step_um: float, appearance: Appearance, rng: np.random.Generator) -> np.ndarray:
    """Brightness along a nerve, [n]: fine granules, beads at irregular spacing, and slow fading."""

    def noise(corr_um: float) -> np.ndarray:
        return _along(n, corr_um / step_um, rng)

    fine, beads, slow = noise(1.2), noise(appearance.bead_spacing_um / 5), noise(40.0)
    log_light = appearance.beading * (0.8 * fine + 0.8 * beads) + 0.2 * slow
    return np.exp(log_light - 0.5 * (appearance.beading**2 + 0.04))


def _ragged(xy: np.ndarray, step_um: float, amplitude_um: float, rng: np.random.Generator) -> np.ndarray:
    """Points [N,2] along all nerves, moved sideways: no nerve is as smooth as a drawn line."""
    aside = 0.6 * _along(len(xy), 2.0 / step_um, rng) + 0.8 * _along(len(xy), 7.0 / step_um, rng)
    heading = headings_of(xy)
    return xy + amplitude_um * aside[:, None] * np.stack([-np.sin(heading), np.cos(heading)], axis=1)


def _along(n: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise [n] of zero mean and unit variance, blurred over `sigma` points."""
    import cv2

    sigma = max(sigma, 0.5)
    every = max(1, int(sigma / 4))  # slow noise needs few points
    line = rng.standard_normal((1, n // every + 2))
    line = cv2.GaussianBlur(line, (0, 0), sigmaX=sigma / every, sigmaY=0.1)[0]
    line *= np.sqrt(2 * np.sqrt(np.pi) * sigma / every)
    return np.interp(np.arange(n) / every, np.arange(len(line)), line)


def _focus(defocus: float, canvas: _Canvas) -> np.ndarray:
    """Share of a nerve's light that is in focus at each place, [H/4,W/4] in 0.15..1."""
    depth = canvas.smooth(2)
    threshold = np.quantile(depth[::2, ::2], defocus)
    return 0.15 + 0.85 / (1.0 + np.exp(-3.0 * (depth - threshold)))


def _at(field: np.ndarray, xy_um: np.ndarray, canvas: _Canvas) -> np.ndarray:
    """Values of a slow field [H/4,W/4] at points in um, [N]."""
    column, row = (xy_um / (COARSE * canvas.um_per_px)).astype(np.int64).T
    return field[row.clip(0, field.shape[0] - 1), column.clip(0, field.shape[1] - 1)]


def _stroma(appearance: Appearance, canvas: _Canvas) -> np.ndarray:
    """Background relative to its mean: clouds, patches of cell mosaic, K-structures."""
    import cv2

    clouds = np.exp(appearance.haze * (0.8 * canvas.smooth(2) + 0.3 * canvas.smooth(6)))
    where = 1.6 / (1.0 + np.exp(-2.0 * canvas.smooth(3)))
    white = canvas.normal(shrink=2)
    cells = cv2.GaussianBlur(white, (0, 0), 0.85) - cv2.GaussianBlur(white, (0, 0), 1.6)
    cells = canvas.enlarge(cells * (appearance.mosaic / float(cells.std())))
    stroma = canvas.enlarge(clouds) * (1.0 + cells * canvas.enlarge(where))
    for _ in range(appearance.k_structures):
        stroma += canvas.enlarge(_k_structure(canvas))
    return stroma


def _k_structure(canvas: _Canvas) -> np.ndarray:
    """A broad, soft, slightly curved band of Bowman's layer, [H/4,W/4]."""
    import cv2

    rng = canvas.rng
    field = np.array([canvas.width, canvas.height]) * canvas.um_per_px
    angle, t = rng.uniform(0, np.pi), np.linspace(-0.8, 0.8, 400)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    bend = 0.08 * np.sin(rng.uniform(1.5, 4.0) * t + rng.uniform(0, 6.28)) + rng.uniform(-0.2, 0.2)
    xy = (0.5 + t[:, None] * along + bend[:, None] * across) * field
    small = canvas.shrunk(4)
    band = cv2.GaussianBlur(
        small.splat(xy, np.ones(len(xy))), (0, 0), rng.uniform(7.0, 18.0) / small.um_per_px
    )
    band *= rng.uniform(0.12, 0.4) / max(float(band.max()), 1e-6)
    return cv2.resize(band, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)


def _dendritic_cells(count: int, canvas: _Canvas) -> np.ndarray:
    """Bright slender bodies of 8 to 14 um, some with up to three thin dendrites of 6 to 18 um, [H,W]."""
    import cv2

    rng = canvas.rng
    points, light = [], []
    for _ in range(count):
        centre = rng.uniform(0, 1, 2) * np.array([canvas.width, canvas.height]) * canvas.um_per_px
        heading, brightness = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.1)
        arms = [(heading + turn, rng.uniform(4, 7), 1.0) for turn in (0.0, np.pi)]
        arms += [(rng.uniform(0, 2 * np.pi), rng.uniform(6, 18), 0.4) for _ in range(rng.integers(0, 4))]
        for angle, length, share in arms:
            s = np.arange(0.0, length, 0.5)
            bend = angle + rng.uniform(-0.8, 0.8) * s / length
            points.append(centre + np.stack([s * np.cos(bend), s * np.sin(bend)], axis=1))
            light.append(share * brightness * (1.0 - 0.4 * s / length))
    spread = canvas.splat(np.concatenate(points), np.concatenate(light))
    return 1.0 - np.exp(-2.0 * cv2.GaussianBlur(spread, (0, 0), 1.05))


def _illumination(vignette: float, canvas: _Canvas) -> np.ndarray:
    """Field illumination, brightest near a random centre, [H,W] in 0.2..1."""
    width, height = canvas.coarse_size()
    y, x = np.mgrid[:height, :width]
    cx, cy = canvas.rng.uniform(0.35, 0.65, 2)
    r2 = ((x / width - cx) ** 2 + (y / height - cy) ** 2) / 0.5
    return canvas.enlarge(np.maximum(1.0 - vignette * r2, 0.2))


def _speckle(amplitude: float, canvas: _Canvas) -> np.ndarray:
    """Multiplicative speckle with mean 1 and a long bright tail, grain about 1.3 pixels, [H,W]."""
    import cv2

    grain = cv2.GaussianBlur(canvas.normal(), (0, 0), 0.62)
    grain *= amplitude / float(grain.std())
    grain -= 0.5 * amplitude**2
    return np.exp(grain, out=grain)


def _smooth_rows(rng: np.random.Generator, height: int) -> np.ndarray:
    """Displacement of each scan line, unit standard deviation, correlated over about ten lines."""
    import cv2

    rows = cv2.GaussianBlur(
        rng.standard_normal((height, 1)).astype(np.float32), (0, 0), sigmaX=0.1, sigmaY=5.0
    )[:, 0]
    return rows / max(float(rows.std()), 1e-6)
