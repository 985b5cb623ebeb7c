"""Skeleton pixels moved to the middle of the nerve, and the width there. All lengths are in pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .centreline import OPEN_FACTOR, normals, shift_to_centre, smooth, to_outline, widths_from
from .skeleton import PixelPaths

LONGEST_CUT = 5.0  # the edge of the field distorts no more than so many half-widths (and 3 pixels) of a path
SHORTEST_PATH = 5  # so many points always count as clear


def clear_pixels(
    paths: PixelPaths, skip: np.ndarray, radius: np.ndarray, edge_distance: np.ndarray
) -> np.ndarray:
    """The pixels [N] that no junction, no cap of an end and no edge of the field distorts.

    skip [2S]: number of pixels that the junction or cap at each arm distorts. radius, edge_distance [N]: distance of a
    pixel to the outline and to the edge of the field of view.
    """
    lengths = np.diff(paths.offsets)
    path = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(path)) - paths.offsets[path]
    back = lengths[path] - 1 - place
    begin, end = end_runs(
        (place < skip[0::2][path]) | (back < skip[1::2][path]) | (edge_distance < radius + 1.0), paths.offsets
    )
    room = np.maximum(lengths - SHORTEST_PATH, 0)
    free = (paths.ends < 0) & ~paths.closed[:, None]
    longest = (LONGEST_CUT * radius[paths.offsets[:-1]] + 3.0).astype(int)
    begin = np.where(free[:, 0], np.minimum(begin, np.minimum(longest, room)), skip[0::2])
    longest = (LONGEST_CUT * radius[paths.offsets[1:] - 1] + 3.0).astype(int)
    end = np.where(free[:, 1], np.minimum(end, np.minimum(longest, room)), skip[1::2])
    return (place >= begin[path]) & (back >= end[path])


def refine(
    paths: PixelPaths,
    clear: np.ndarray,
    radius: np.ndarray,
    edge_distance: np.ndarray,
    mask: np.ndarray,
    field: np.ndarray | None,
    um_per_px: float,
) -> tuple[PixelPaths, np.ndarray]:
    """Paths with points in the middle between the mask's outlines, to a fraction of a pixel, and the widths [N].

    clear [N]: False for pixels that a junction or an end distorts; they stay where they are. radius, edge_distance [N]:
    distance of a pixel to the outline and to the edge of the field of view. mask, field: float32 [H,W], 1 inside.
    """
    line = smooth(paths.points, clear.astype(float), paths.offsets, paths.closed, um_per_px)
    normal = normals(line, paths.offsets)
    usual = median_by_path(radius, paths.offsets, np.ones(len(line), dtype=bool), fewest=1)
    sides = to_outline(line, normal, OPEN_FACTOR * usual + 2.0, mask)
    widths = widths_from(sides, usual)
    half_width = 0.5 * median_by_path(widths, paths.offsets, edge_distance > radius + 1.0, fewest=10)
    shift = shift_to_centre(line, normal, sides, half_width, mask.shape, field)
    points = np.where(clear[:, None], line + shift, paths.points)
    return replace(paths, points=points), widths


def median_by_path(values: np.ndarray, offsets: np.ndarray, chosen: np.ndarray, fewest: int) -> np.ndarray:
    """The median [N] of each path's chosen values (none is negative); 0 for a path with fewer than `fewest`."""
    lengths = np.diff(offsets)
    path = np.repeat(np.arange(len(lengths)), lengths)
    span = float(values.max(initial=0.0)) + 1.0  # in every path, chosen values come first, the smallest ahead
    keys = 2.0 * span * path + np.where(chosen, values, values + span)
    order = np.argsort(keys, kind="stable")  # nearly sorted keys: faster than the default
    counts = np.bincount(path[chosen], minlength=len(lengths))
    low = offsets[:-1] + np.maximum(counts - 1, 0) // 2
    high = offsets[:-1] + np.minimum(counts // 2, lengths - 1)
    middle = 0.5 * (values[order[low]] + values[order[high]])
    return np.repeat(np.where((counts >= fewest) & (counts > 0), middle, 0.0), lengths)


def end_runs(flags: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many points in a row are flagged at the start and at the end of each path, [S] each."""
    index, size = np.arange(len(flags)), len(flags)
    first, after = offsets[:-1], offsets[1:]
    begin = np.minimum.reduceat(np.where(flags, size, index), first) - first
    end = after - 1 - np.maximum.reduceat(np.where(flags, -1, index), first)
    return np.minimum(begin, after - first), np.minimum(end, after - first)
