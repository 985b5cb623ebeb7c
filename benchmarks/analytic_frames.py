"""Frames of analytic curves, drawn in another way than the phantoms that the network was trained on.

Lines, waves, arcs and spirals with a rational profile of the distance to the curve, gamma-distributed speckle, a tilted
and rippled background, round cells and now and then a wide band. No code is shared with `ccm.phantom`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SIDE = 384
FINE = 2  # distances are measured at this multiple of the resolution


class AnalyticFrame(NamedTuple):
    """A frame, float32 [H,W] in 0..1, and its nerves about 3 pixels wide, bool [H,W]."""

    grey: np.ndarray
    nerve: np.ndarray


def analytic_frame(seed: int) -> AnalyticFrame:
    """Draw frame number `seed`, with 2 to 8 curves."""
    rng = np.random.default_rng((4711, seed))
    heading = rng.uniform(0, np.pi)
    light, nerve = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE), bool)
    for _ in range(rng.integers(2, 9)):
        away = _distance(_curve(rng, heading))
        profile = 1.0 / (1.0 + (away / rng.uniform(1.2, 2.6)) ** 2) ** 2
        light = np.maximum(light, rng.uniform(0.12, 0.5) * profile)
        nerve |= away <= 1.5
    grey = (light + _cells(rng) + _background(rng)) * rng.gamma(30.0, 1 / 30.0, light.shape)
    return AnalyticFrame((grey + 0.01 * rng.standard_normal(grey.shape)).clip(0, 1).astype(np.float32), nerve)


def _curve(rng: np.random.Generator, heading: float) -> np.ndarray:
    """A wave, an arc or a spiral as points [N,2] in pixels, most of them along the common heading."""
    t = np.linspace(-1.0, 1.0, 800)
    kind = rng.choice(["wave", "wave", "wave", "arc", "spiral"])
    if kind == "spiral":
        angle, radius = 2.5 * np.pi * (t + 1.0), 20.0 + 50.0 * (t + 1.0)
        centre = rng.uniform(0.3, 0.7, 2) * SIDE
        return centre + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    turn = heading + rng.normal(0, 0.25)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    bend = rng.uniform(-0.25, 0.25) * t**2 if kind == "arc" else 0.04 * np.sin(rng.uniform(2, 12) * t)
    offset = rng.uniform(-0.5, 0.5)
    return SIDE * (0.5 + 0.8 * t[:, None] * along + (offset + bend)[:, None] * across)


def _distance(points: np.ndarray) -> np.ndarray:
    """Distance [H,W] of every pixel to a curve, in pixels."""
    import cv2

    free = np.full((SIDE * FINE, SIDE * FINE), 255, np.uint8)
    cv2.polylines(free, [np.round(points * FINE - 0.5).astype(np.int32)[:, None]], False, 0, 1)
    away = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return cv2.resize(away, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / FINE


def _background(rng: np.random.Generator) -> np.ndarray:
    y, x = np.indices((SIDE, SIDE)) / SIDE
    tilt = rng.uniform(-0.08, 0.08, 2)
    ripple = 0.03 * np.cos(rng.uniform(3, 9) * x + rng.uniform(0, 6)) * np.cos(rng.uniform(3, 9) * y)
    band = 0.0
    if rng.random() < 0.3:
        angle = rng.uniform(0, np.pi)
        away = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - rng.uniform(-0.3, 0.3)
        band = rng.uniform(0.08, 0.2) / (1.0 + (away / rng.uniform(0.02, 0.05)) ** 2)
    return rng.uniform(0.12, 0.3) + tilt[0] * x + tilt[1] * y + ripple + band


def _cells(rng: np.random.Generator) -> np.ndarray:
    y, x = np.indices((SIDE, SIDE))
    light = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(0, 8)):
        away = np.hypot(x - rng.uniform(0, SIDE), y - rng.uniform(0, SIDE))
        light += rng.uniform(0.2, 0.5) * (away < rng.uniform(2.0, 5.0))
    return light
