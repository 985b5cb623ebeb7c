"""One standing position for every mask, so that a turned or mirrored frame measures exactly the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Orientation:
    """The flips, and then the transposition, that bring a picture into its standing position."""

    flip_x: bool
    flip_y: bool
    transpose: bool

    @classmethod
    def of(cls, mask: np.ndarray) -> Orientation:
        """The orientation in which most of a mask, bool [H,W], lies at the top left and it extends most along x.

        All moments are whole numbers about the middle of the frame, so that no rounding decides.
        """
        import cv2

        height, width = mask.shape
        x, y = 2 * np.arange(width) + 1 - width, 2 * np.arange(height) + 1 - height
        columns, rows = (
            cv2.reduce(mask.view(np.uint8), axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().astype(int)
            for axis in (0, 1)
        )
        along_x, along_y = int(columns @ x**2), int(rows @ y**2)
        return cls(int(columns @ x) > 0, int(rows @ y) > 0, along_y > along_x)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The picture, bool [H,W], in its standing position."""
        import cv2

        turned = np.ascontiguousarray(picture).view(np.uint8)
        if self.flip_x:
            turned = cv2.flip(turned, 1)
        if self.flip_y:
            turned = cv2.flip(turned, 0)
        return (cv2.transpose(turned) if self.transpose else turned).view(bool)

    def restore(self, picture: np.ndarray) -> np.ndarray:
        """The standing picture, bool [H,W], as it was before `apply`."""
        import cv2

        turned = np.ascontiguousarray(picture).view(np.uint8)
        if self.transpose:
            turned = cv2.transpose(turned)
        if self.flip_y:
            turned = cv2.flip(turned, 0)
        return (cv2.flip(turned, 1) if self.flip_x else turned).view(bool)

    def turn(self, points: np.ndarray, size: tuple[float, float]) -> np.ndarray:
        """Points [N,2] of a picture with size (width, height), in its standing position."""
        x, y = points.T
        x, y = size[0] - x if self.flip_x else x, size[1] - y if self.flip_y else y
        return np.stack([y, x] if self.transpose else [x, y], axis=1)

    def undo(self, points: np.ndarray, size: tuple[float, float]) -> np.ndarray:
        """Points [N,2] of the standing picture, in the original one with size (width, height)."""
        x, y = points.T[::-1] if self.transpose else points.T
        return np.stack([size[0] - x if self.flip_x else x, size[1] - y if self.flip_y else y], axis=1)
