"""A coarse map of who owns which part of the frame, so that nerves keep apart."""

from __future__ import annotations

import numpy as np

CELL_UM = 2.0
CLEAR_UM = 14.0
FOOT_CLEAR_UM = 26.0
FREE = -1


class Canvas:
    """Zones of CLEAR_UM around every nerve and of FOOT_CLEAR_UM around every branch foot and crossing."""

    def __init__(self, size_um: tuple[float, float]) -> None:
        shape = tuple(int(np.ceil(side / CELL_UM)) + 1 for side in reversed(size_um))
        self._owners = np.full(shape, FREE, np.int16)
        self._feet = np.zeros(shape, np.uint8)

    def owners(self, points: np.ndarray) -> np.ndarray:
        """Return the index of the nerve whose zone each point lies in, FREE where none, [N]."""
        x, y = (points / CELL_UM).astype(np.intp).T
        return self._owners[y, x]

    def near_foot(self, points: np.ndarray) -> np.ndarray:
        """Return whether each point lies near a foot or a crossing, [N] bool."""
        x, y = (points / CELL_UM).astype(np.intp).T
        return self._feet[y, x] > 0

    def claim(self, points: np.ndarray, owner: int) -> None:
        """Give the free part of the zone around a nerve to it."""
        import cv2

        zone = np.zeros(self._owners.shape, np.uint8)
        line = np.round(points / CELL_UM).astype(np.int32)[:, None]
        cv2.polylines(zone, [line], False, 1, int(2 * CLEAR_UM / CELL_UM))
        self._owners[(zone > 0) & (self._owners == FREE)] = owner

    def claim_foot(self, point: np.ndarray) -> None:
        """Keep other feet and crossings away from this one."""
        import cv2

        centre = tuple(int(v) for v in np.round(point / CELL_UM))
        cv2.circle(self._feet, centre, int(FOOT_CLEAR_UM / CELL_UM), 1, -1)
