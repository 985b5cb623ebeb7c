"""The corneal nerve biomarkers of one frame, from its nerve mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import MaskError, PixelSizeError
from ..images import UM_PER_PX, check_um_per_px
from .graph import Nerve, NerveGraph, Role, measure_graph
from .orientation import Orientation
from .skeleton import as_nerve_mask

FINEST_UM, COARSEST_UM = 0.1, 100.0  # pixel sizes; a microscope's field of 400 um has 192 to 1024 pixels
STEEPEST = 0.5  # cosine of the steepest angle to its chord (60 degrees) at which a nerve is a function of x
BOXES_UM = (6.25, 12.5, 25.0, 50.0, 100.0)  # each twice the one before


@dataclass(frozen=True)
class NerveBiomarkers:
    """What a corneal nerve laboratory reports of one frame.

    cnfl_mm_per_mm2: length of all nerves per area. cnfd_per_mm2: main fibres per area. cnbd_per_mm2: branch points on
    main fibres per area. ctbd_per_mm2: all branches per area. cnfa: nerve area per area. cnfw_um: mean width,
    weighted by length. cnfrd: box-counting dimension of the centre-lines. tortuosity_tc and tortuosity_arc_chord:
    means over the main fibres. length_um, main_fibres, branch_points, branches: the totals behind them.
    frame_area_mm2: area of the field of view. NaN stands for what an empty mask, or one without main fibres, lacks.
    """

    cnfl_mm_per_mm2: float
    cnfd_per_mm2: float
    cnbd_per_mm2: float
    ctbd_per_mm2: float
    cnfa: float
    cnfw_um: float
    cnfrd: float
    tortuosity_tc: float
    tortuosity_arc_chord: float
    main_fibres: int
    branch_points: int
    branches: int
    length_um: float
    frame_area_mm2: float
    graph: NerveGraph


def measure_nerves(
    mask: np.ndarray, um_per_px: float = UM_PER_PX, field_of_view: np.ndarray | None = None
) -> NerveBiomarkers:
    """Measure the nerves of a mask [H,W] (any numbers: floats above 0.5 and other non-zero values are nerve).

    um_per_px: pixel size in um. field_of_view: [H,W], the part of the frame that was seen (all of it if None); nerves
    outside do not count, nor does that area. An empty mask gives zeros, and NaN for widths, dimension and
    tortuosity. Raises MaskError for a mask of another shape or with NaN, or for a field of view of another size or
    with no pixels; PixelSizeError for a pixel size that is not from 0.1 to 100 um.
    """
    size = _pixel_size(um_per_px)
    nerve = as_nerve_mask(mask)
    field = None if field_of_view is None else _field(field_of_view, nerve.shape)
    if field is not None:
        nerve = nerve & field
    area = float(nerve.size if field is None else field.sum()) * size**2 * 1e-6
    graph = measure_graph(nerve, size, field)
    mains = graph.with_role(Role.MAIN)
    branches = len(graph.with_role(Role.BRANCH))
    length = sum(nerve_.length_um for nerve_ in graph.nerves)
    return NerveBiomarkers(
        cnfl_mm_per_mm2=length * 1e-3 / area,
        cnfd_per_mm2=len(mains) / area,
        cnbd_per_mm2=len(graph.branch_points_um) / area,
        ctbd_per_mm2=branches / area,
        cnfa=float(np.count_nonzero(nerve)) * size**2 * 1e-6 / area,
        cnfw_um=mean_width_um(graph),
        cnfrd=box_counting_dimension(
            graph, Orientation.of(nerve), (nerve.shape[1] * size, nerve.shape[0] * size)
        ),
        tortuosity_tc=_mean([tortuosity_coefficient(main) for main in mains]),
        tortuosity_arc_chord=_mean([arc_over_chord(main) for main in mains]),
        main_fibres=len(mains),
        branch_points=len(graph.branch_points_um),
        branches=branches,
        length_um=float(length),
        frame_area_mm2=area,
        graph=graph,
    )


def measure_batch(
    masks: np.ndarray, um_per_px: float, fields_of_view: np.ndarray | None
) -> list[NerveBiomarkers]:
    """Measure masks [B,H,W] within fields of view [B,H,W], or one for all [1,H,W], or the whole frames (None).

    Raises what `measure_nerves` raises, and MaskError if there are more or fewer fields than masks.
    """
    if fields_of_view is None:
        return [measure_nerves(mask, um_per_px) for mask in masks]
    if len(fields_of_view) not in (1, len(masks)):
        raise MaskError(
            f"There are {len(fields_of_view)} fields of view for {len(masks)} masks",
            fix="connect one field of view for all masks, or one for each",
        )
    fields = [*fields_of_view] * (len(masks) if len(fields_of_view) == 1 else 1)
    return [measure_nerves(mask, um_per_px, field) for mask, field in zip(masks, fields, strict=True)]


def _pixel_size(um_per_px: float) -> float:
    size = check_um_per_px(um_per_px)
    if not FINEST_UM <= size <= COARSEST_UM:
        raise PixelSizeError(
            f"Pixel size is {size:g} um; expected {FINEST_UM:g} to {COARSEST_UM:g}",
            fix="give the pixel size in micrometres, 1.0417 for an HRT3-RCM frame of 384 pixels",
        )
    return size


def _field(field_of_view: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    field = as_nerve_mask(field_of_view)
    if field.shape != shape or not field.any():
        raise MaskError(
            f"Field of view has shape {field.shape} and {int(field.sum())} pixels; the mask has {shape}",
            fix="give a field of view of the mask's size with at least one pixel",
        )
    return field


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def mean_width_um(graph: NerveGraph) -> float:
    """Mean width in um of all nerves, weighted by length; NaN without nerves."""
    pieces = [piece for nerve in graph.nerves for piece in nerve.pieces_um]
    if not pieces:
        return float("nan")
    points = np.concatenate(pieces)
    steps = np.hypot(*(points[1:] - points[:-1]).T)
    steps[_seams(pieces)] = 0.0
    widths = np.concatenate([width for nerve in graph.nerves for width in nerve.widths_um])
    total = float(steps.sum())
    return float(steps @ (widths[1:] + widths[:-1])) / (2.0 * total) if total > 0 else float("nan")


def _seams(pieces: list[np.ndarray]) -> np.ndarray:
    """The steps of the concatenated pieces that lead from piece to piece."""
    return np.cumsum([len(piece) for piece in pieces])[:-1] - 1


def tortuosity_coefficient(nerve: Nerve) -> float:
    """Tortuosity coefficient of Kallinikos et al. 2004 (Invest Ophthalmol Vis Sci 45:418, doi 10.1167/iovs.03-0637).

    TC = sqrt(integral of f'(x)^2 + f''(x)^2 dx), where the nerve is turned until its chord is the x axis and f(x) is
    its distance from the chord. As the sum mixes f' (no unit) and f'' (1 / length), x is in units of 1.0417 um, the
    pixel of an HRT3-RCM frame, at any pixel size. Where the nerve turns more than 60 degrees from its chord, f would
    not be a function of x: the cosine is held at 1/2 there.
    """
    points = np.concatenate(nerve.pieces_um) / UM_PER_PX
    x, y = (points[1:] - points[:-1]).T
    ds = np.hypot(x, y)
    moved = np.flatnonzero(ds > 1e-9)
    if len(moved) < 3:
        return 0.0
    ds, (chord_x, chord_y) = ds[moved], points[-1] - points[0]
    heading = np.arctan2(y[moved], x[moved]) - math.atan2(chord_y, chord_x)
    turn = (heading[1:] - heading[:-1] + np.pi) % (2.0 * np.pi) - np.pi
    cosine = np.maximum(np.cos(heading), STEEPEST)
    slope = np.sin(heading) / cosine
    between = 0.5 * (ds[1:] + ds[:-1])
    curvature = turn / between / np.minimum(cosine[1:], cosine[:-1]) ** 3
    bend = float((curvature**2 * between * 0.5 * (cosine[1:] + cosine[:-1])).sum())
    return float(np.sqrt((slope**2 * ds * cosine).sum() + bend))


def arc_over_chord(nerve: Nerve) -> float:
    """Length along the nerve over the distance of its ends (1 if straight); gaps are straight."""
    points = np.concatenate(nerve.pieces_um)
    arc = float(np.hypot(*(points[1:] - points[:-1]).T).sum())
    return arc / max(math.dist(points[-1], points[0]), 1e-9)


def box_counting_dimension(
    graph: NerveGraph, orientation: Orientation, size_um: tuple[float, float]
) -> float:
    """Box-counting (Minkowski) dimension of all centre-lines, from boxes of 6.25 to 100 um; NaN without nerves.

    The slope of log N(s) over log 1/s, N(s) being the number of boxes of side s that a centre-line enters. The boxes
    start in the corner that is the first one once the frame of size_um (width, height) stands upright, so that a
    turned frame has the same dimension.
    """
    pieces = [piece for nerve in graph.nerves for piece in nerve.pieces_um if nerve.length_um > 0]
    if not pieces:
        return float("nan")
    points = orientation.turn(np.concatenate(pieces), size_um)
    standing = size_um[::-1] if orientation.transpose else size_um
    middles, seams = 0.5 * (points[1:] + points[:-1]), _seams(pieces)
    middles[seams] = points[seams]
    indices = (np.concatenate([points, middles]) / BOXES_UM[0]).astype(np.intp)
    last = np.maximum(np.rint(np.divide(standing, BOXES_UM[0])), 1.0).astype(np.intp) - 1
    columns, rows = np.minimum(indices, last).T  # the far edge, and a sliver of a box, belong to the last box
    coarsest = 2 ** (len(BOXES_UM) - 1)  # smallest boxes along the side of a largest one
    entered = np.zeros([-(-(int(index.max()) + 1) // coarsest) * coarsest for index in (rows, columns)], bool)
    entered[rows, columns] = True
    counts = [np.count_nonzero(entered)]
    for _ in BOXES_UM[1:]:  # the next boxes are twice as large
        entered = entered[::2] | entered[1::2]
        entered = entered[:, ::2] | entered[:, 1::2]
        counts.append(np.count_nonzero(entered))
    size = np.log(BOXES_UM) - np.log(BOXES_UM).mean()
    return float(-(size @ np.log(counts)) / (size @ size))
