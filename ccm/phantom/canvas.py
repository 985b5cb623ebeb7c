"""A coarse map of who owns which part of the frame, so that nerves keep apart."""

from __future__ import annotations

import numpy as np

CELL_UM = 2.0
CLEAR_UM = 14.0
FOOT_CLEAR_UM = 26.0
FREE = -1
OUTSIDE = -2


class Canvas:
    """Zones of CLEAR_UM around every nerve and of FOOT_CLEAR_UM around every branch foot and crossing."""

    def __init__(self, size_um: tuple[float, float]) -> None:
        self._limits = np.asarray(size_um)
        shape = tuple(int(np.ceil(side / CELL_UM)) + 1 for side in reversed(size_um))
        self._owners = np.full(shape, FREE, np.int16)
        self._feet = np.zeros(shape, np.uint8)
        self.feet: list[np.ndarray] = []  # of branches, and crossings
        self.tips: list[np.ndarray] = []  # of nerves that end inside the frame

    def owners(self, points: np.ndarray) -> np.ndarray:
        """Return the nerve whose zone each point [...,2] lies in, FREE where none, OUTSIDE off the frame."""
        x, y = self._cells(points)
        return np.where(self.border_gap(points) >= 0, self._owners[y, x], OUTSIDE)

    def near_foot(self, points: np.ndarray) -> np.ndarray:
        """Return whether each point [...,2] lies near a foot or a crossing."""
        x, y = self._cells(points)
        return self._feet[y, x] > 0

    def border_gap(self, points: np.ndarray) -> np.ndarray:
        """Return the distance of each point [...,2] from the nearest side of the frame, um."""
        gap = np.minimum(points, self._limits - points)
        return np.minimum(gap[..., 0], gap[..., 1])

    def claim(self, points: np.ndarray, owner: int) -> None:
        """Give the free part of the zone around a nerve to it."""
        import cv2

        line = np.round(np.vstack([points[:-1:4], points[-1:]]) / CELL_UM).astype(np.int32)[:, None]
        zone = np.zeros(self._owners.shape, np.uint8)
        cv2.polylines(zone, [line], False, 1, int(2 * CLEAR_UM / CELL_UM))
        np.copyto(self._owners, owner, where=(zone > 0) & (self._owners == FREE))

    def clear_zones(self) -> None:
        """Free all zones; feet and crossings stay."""
        self._owners[:] = FREE

    def claim_foot(self, point: np.ndarray) -> None:
        """Keep other feet and crossings away from this one."""
        import cv2

        centre = (round(float(point[0]) / CELL_UM), round(float(point[1]) / CELL_UM))
        self.feet.append(point)
        cv2.circle(self._feet, centre, int(FOOT_CLEAR_UM / CELL_UM), 1, -1)

    def _cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = (np.minimum(np.maximum(points, 0.0), self._limits) * (1 / CELL_UM)).astype(np.intp)
        return cells[..., 0], cells[..., 1]


def gap_to(spots: list[np.ndarray], point: np.ndarray) -> float:
    """Return the distance of a point [2] from the nearest of the spots, um; infinite where there are none."""
    return min((float(np.hypot(*(point - spot))) for spot in spots), default=np.inf)
