"""From a nerve mask to ordered pixel paths between junctions, all of it vectorised.

Pixel geometry: points are (x, y) in pixels, the centre of pixel [row, column] lies at (column + 0.5, row + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import MaskError

LONGEST_SIDE_PX = 32766  # OpenCV samples no longer ones
WIDEST_UM = 60.0
HOLE_UM2 = 30.0  # a smaller hole in a nerve is segmentation noise, and would split its centre-line in two


@dataclass(frozen=True)
class PixelPaths:
    """The skeleton cut at its junctions into S ordered paths of pixels, and the J clusters of junction pixels.

    points: [N,2] pixel centres (x, y), path after path. offsets: [S+1], path s is points[offsets[s]:offsets[s+1]].
    ends: [S,2] junction at which the first and the last pixel of a path hang, -1 for a free end.
    closed: [S] paths that are rings. junctions: [J,2] centres of the junction clusters (x, y).
    """

    points: np.ndarray
    offsets: np.ndarray
    ends: np.ndarray
    closed: np.ndarray
    junctions: np.ndarray


def as_nerve_mask(mask: np.ndarray) -> np.ndarray:
    """Turn a mask [H,W] into bool [H,W]: floating-point values above 0.5 and other non-zero values are nerve.

    Raises MaskError on any other shape, on no pixels, on a side of more than 32766 pixels, and on NaN or infinity.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0:
        raise MaskError(
            f"Mask has shape {array.shape}; expected one picture [height, width] with pixels",
            fix="pass one mask at a time, without a colour channel",
        )
    if max(array.shape) > LONGEST_SIDE_PX:
        raise MaskError(
            f"Mask has {array.shape[1]} x {array.shape[0]} pixels; a side may have {LONGEST_SIDE_PX}",
            fix="cut the mosaic into parts and measure each",
        )
    if array.dtype == bool:
        return array
    if not np.issubdtype(array.dtype, np.number):
        raise MaskError(f"Mask holds {array.dtype} values", fix="pass a mask of numbers or of booleans")
    if not np.isfinite(array).all():
        raise MaskError("Mask holds NaN or infinite values", fix="draw or load the mask again")
    return array > 0.5 if np.issubdtype(array.dtype, np.floating) else array != 0


def fill_small_holes(mask: np.ndarray, um_per_px: float) -> np.ndarray:
    """Fill the holes of a mask, bool [H,W], of less than 30 um^2, and in any case those of one pixel.

    The outline of a hole runs through the pixels around it, so that the hole's own pixels are the points inside of a
    lattice polygon: area - outline / 2 + 1 (Pick 1899).
    """
    import cv2

    filled = mask.astype(np.uint8)
    outlines, hierarchy = cv2.findContours(filled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    largest = max(1.0, HOLE_UM2 / um_per_px**2)
    for number in np.flatnonzero(hierarchy[0, :, 3] >= 0).tolist() if outlines else ():
        outline = outlines[number]
        if cv2.contourArea(outline) - len(outline) / 2.0 + 1.0 <= largest:
            cv2.drawContours(filled, [outline], 0, 1, cv2.FILLED)
    return filled.view(bool)


def thin(mask: np.ndarray) -> np.ndarray:
    """One-pixel-wide centre-line, bool [H,W], of a mask: Guo and Hall 1989 (Commun ACM 32:359-373, algorithm A1).

    Not the better-known method of Zhang and Suen: it wears straight diagonal nerves away, some of them completely.

    Strategy: the whole mask is one integer, a bit for each pixel and an empty one after each row. A shift brings each
    pixel's neighbour to its place, and one bitwise operation works on all pixels at once.
    """
    height, width = mask.shape
    stride = width + 1
    bits = np.zeros((height, stride), dtype=bool)
    bits[:, :width] = mask
    line = int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")
    half, idle = 0, 0
    while idle < 2:  # until neither half step changes anything
        peeled = line & _peeled(line, stride, half)
        line, half, idle = line ^ peeled, 1 - half, 0 if peeled else idle + 1
    packed = np.frombuffer(line.to_bytes(-(-bits.size // 8), "little"), dtype=np.uint8)
    thinned = np.unpackbits(packed, count=bits.size, bitorder="little").view(bool)
    return thinned.reshape(bits.shape)[:, :width]


def _peeled(line: int, stride: int, half: int) -> int:
    """The pixels that a half step of thinning takes off, as bits; what is not on the line counts for nothing.

    A pixel goes if its neighbours are one connected arc, it is neither an end nor inside, and it lies on the side
    that the half step peels: north and east first, south and west then.
    """
    n, e, s, w = line << stride, line >> 1, line >> stride, line << 1
    ne, se, sw, nw = n >> 1, s >> 1, s << 1, n << 1
    pairs, others = (nw | n, ne | e, se | s, sw | w), (n | ne, e | se, s | sw, w | nw)
    a, b, c, d = _without(pairs[1], n), _without(pairs[2], e), _without(pairs[3], s), _without(pairs[0], w)
    odd, several = a ^ b ^ c ^ d, a & b | c & d  # arcs begin at a, b, c, d; one does if odd, not three
    inside = pairs[0] & pairs[1] & pairs[2] & pairs[3] & others[0] & others[1] & others[2] & others[3]
    no_end = _two_of(*pairs) & _two_of(*others)
    kept_side = _without(e, _without(se, others[0])) if half == 0 else _without(w, _without(nw, others[2]))
    return _without(odd & no_end, several | inside | kept_side)


def _without(bits: int, others: int) -> int:
    return (bits | others) ^ others


def _two_of(a: int, b: int, c: int, d: int) -> int:
    """Where at least two of the four have a bit, if those that have one lie side by side, as in one arc they do."""
    return (a | c) & (b | d)


def without_blobs(mask: np.ndarray, um_per_px: float) -> tuple[np.ndarray, np.ndarray]:
    """The mask, bool [H,W], without what is more than 60 um thick, and the distance [H,W] to its outline in pixels.

    No nerve is so thick, and thinning it would take long. The distance is that from a pixel's centre.
    """
    radius = 0.5 * WIDEST_UM / um_per_px
    distance = _to_zero(mask)
    if distance.max() > radius:
        mask = mask & (_to_zero(distance <= radius) > 1.5 * radius)  # corners included
        distance = _to_zero(mask)
    distance -= 0.5
    return mask, np.maximum(distance, 0.5, out=distance)


def _to_zero(flags: np.ndarray) -> np.ndarray:
    """Distance [H,W] of each pixel to the nearest one that is False."""
    import cv2

    return cv2.distanceTransform(flags.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def trace_paths(skeleton: np.ndarray) -> PixelPaths:
    """Cut a one-pixel-wide skeleton, bool [H,W], into ordered paths between junction clusters.

    Strategy: pixels are nodes; a diagonal step is an edge only where no straight step joins the same two pixels, so
    that stairs hold no triangles. Pixels of three or more edges are junctions, touching ones are one cluster. One
    depth-first walk from a helper node that is tied to one end of every path then yields all paths in order.
    """
    padded = np.zeros((skeleton.shape[0] + 2, skeleton.shape[1] + 2), dtype=bool)
    padded[1:-1, 1:-1] = skeleton
    where = np.flatnonzero(padded)
    rows = where // padded.shape[1]
    points = np.stack([where - rows * padded.shape[1], rows], axis=1) - 0.5
    tails, heads = _edges(padded, where)
    degree = np.bincount(np.concatenate([tails, heads]), minlength=len(where))
    is_junction = degree >= 3
    cluster, centres = _clusters(points, tails, heads, is_junction)
    along = ~is_junction[tails] & ~is_junction[heads]
    order, offsets, closed = _walk(tails[along], heads[along], ~is_junction)
    ends = _hang(tails, heads, is_junction, cluster, order, offsets, along)
    return PixelPaths(points[order], offsets, ends, closed, centres)


def _edges(padded: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (tail, head) between skeleton pixels, as indices into `where`."""
    flat, width = padded.ravel(), padded.shape[1]
    node = np.empty(flat.shape, dtype=int)  # only read at skeleton pixels
    node[where] = np.arange(len(where))
    tails, heads = [], []
    for step, corners in ((1, ()), (width, ()), (width + 1, (1, width)), (width - 1, (-1, width))):
        joined = flat[where + step]
        for corner in corners:
            joined = joined & ~flat[where + corner]
        tails.append(np.flatnonzero(joined))
        heads.append(node[where[joined] + step])
    return np.concatenate(tails), np.concatenate(heads)


def _clusters(
    points: np.ndarray, tails: np.ndarray, heads: np.ndarray, is_junction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster number of every junction pixel (-1 elsewhere) and the cluster centres [J,2]."""
    number = np.cumsum(is_junction) - 1
    touching = is_junction[tails] & is_junction[heads]
    labels = groups(int(is_junction.sum()), number[tails[touching]], number[heads[touching]])
    cluster = np.full(len(points), -1)
    cluster[is_junction] = labels
    members = np.bincount(labels)
    centre = [np.bincount(labels, points[is_junction, axis]) / members for axis in (0, 1)]
    return cluster, np.stack(centre, axis=1)


def groups(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Group number [count] of each of `count` things, things a[p] and b[p] being in one group.

    Groups are numbered in the order of their first things. Union of trees with path halving (Tarjan 1975).
    """
    parent = list(range(count))

    def root(thing: int) -> int:
        while parent[thing] != thing:
            parent[thing] = thing = parent[parent[thing]]
        return thing

    for one, other in zip(a.tolist(), b.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    roots = np.array([root(thing) for thing in range(count)], dtype=int)
    return (np.cumsum(roots == np.arange(count)) - 1)[roots]


def _walk(
    tails: np.ndarray, heads: np.ndarray, on_path: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Path pixels in walking order, the offset at which each path starts, and whether it is a ring."""
    size = len(on_path)
    degree = np.bincount(tails, minlength=size) + np.bincount(heads, minlength=size)
    order = _depth_first(tails, heads, np.flatnonzero(on_path & (degree < 2)), size)
    is_end, alone = degree[order] == 1, degree[order] == 0
    begins = np.flatnonzero(alone | (is_end & (np.cumsum(is_end) % 2 == 1)))  # every second end starts a path
    on_ring = on_path.copy()
    on_ring[order] = False
    if not on_ring.any():
        return order, np.append(begins, len(order)), np.zeros(len(begins), dtype=bool)
    ring = on_ring[tails]
    origins = _one_of_each(tails[ring], heads[ring], on_ring)
    around = _depth_first(tails[ring], heads[ring], origins, size)
    starts = np.flatnonzero(np.isin(around, origins))
    offsets = np.concatenate([begins, len(order) + starts, [len(order) + len(around)]])
    return np.append(order, around), offsets, np.arange(len(offsets) - 1) >= len(begins)


def _depth_first(tails: np.ndarray, heads: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """Nodes in depth-first order from a helper node, number `size`, that is tied to all `starts`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import depth_first_order

    rows = np.concatenate([tails, heads, np.full(len(starts), size)])
    columns = np.concatenate([heads, tails, starts])
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size + 1, size + 1)).tocsr()
    return depth_first_order(graph, size, return_predecessors=False)[1:]


def _one_of_each(tails: np.ndarray, heads: np.ndarray, on_ring: np.ndarray) -> np.ndarray:
    """The first node of each ring."""
    nodes, ring = np.flatnonzero(on_ring), groups(len(on_ring), tails, heads)
    return nodes[np.unique(ring[nodes], return_index=True)[1]]


def _hang(
    tails: np.ndarray,
    heads: np.ndarray,
    is_junction: np.ndarray,
    cluster: np.ndarray,
    order: np.ndarray,
    offsets: np.ndarray,
    along: np.ndarray,
) -> np.ndarray:
    """Junction cluster at the first and at the last pixel of every path, [S,2], -1 where it is free."""
    mixed = is_junction[tails] != is_junction[heads]
    pixel = np.where(is_junction[tails], heads, tails)[mixed]
    at = np.where(is_junction[tails], cluster[tails], cluster[heads])[mixed]
    first, last = order[offsets[:-1]], order[offsets[1:] - 1]
    hung = np.full((2, len(cluster)), -1, dtype=np.int64)
    hung[0, pixel[::-1]] = at[::-1]  # the first edge of a pixel wins here,
    hung[1, pixel] = at  # the last one here: only a path of a single pixel has both
    ends = np.stack([hung[0, first], hung[1, last]], axis=1)
    single = (first == last) & (np.bincount(pixel, minlength=len(cluster))[first] < 2)
    ends[single, 1] = -1
    return ends
