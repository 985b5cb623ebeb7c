"""Miniature data sets in the layouts of the public ones, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, width: int = 384, height: int = 384, seed: int | None = None) -> Path:
    """Save a picture of coarse noise, or of a vertical line where no seed is given: a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width), np.uint8)
    pixels[:, width // 2 : width // 2 + 3] = 255
    if seed is not None:
        coarse = np.random.default_rng(seed).integers(0, 256, (24, 24), np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    Image.fromarray(pixels).save(path)
    return path


def qilu(root: Path) -> Path:
    """Two sets, three participants, five pairs."""
    for seed, name in enumerate(("10101", "10102", "10201", "20101", "20102")):
        save(root / "Dataset" / "images" / f"{name}.png", seed=seed)
        save(root / "Dataset" / "annotations" / f"{name}.png")
    return root


def corn1(root: Path) -> Path:
    """Three pairs to train on, two to validate, one to test."""
    seed = 0
    for split, count in (("training", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            seed += 1
            save(root / split / f"{split}_images" / f"{number:03}.tif", seed=seed)
            save(root / split / f"{split}_mask" / f"{number:03}.tif")
    return root


def padova(root: Path) -> Path:
    """Two normal frames and one that is not."""
    for seed, name in enumerate(("Imm01_Normal", "Imm02_Normal", "Imm03_NonNormal")):
        save(root / f"{name}.jpg", 768, 576, seed=seed)
    return root


def hrt(root: Path) -> Path:
    """Exports with the footer: two of controls, one with neuropathy; one mask with a footer, two without."""
    for seed, (cohort, height) in enumerate((("Control", 484), ("Control", 384), ("T1DPN", 384))):
        save(root / cohort / f"{seed}.jpg", 384, 484, seed=seed)
        save(root / cohort / f"{seed}_mask.png", 384, height)
    return root
