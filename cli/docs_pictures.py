"""Icon and banner of the pack, drawn from phantoms: what the pack does in one picture, mask to frame to nerves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..ccm.cohorts import Cohort

if TYPE_CHECKING:
    from ..ccm.phantom.tree import NerveTree

BANNER_PX = (1680, 720)  # 21:9, as the registry asks
ICON_PX = 400  # the largest that the registry takes
BANNER_UM_PER_PX, ICON_UM_PER_PX = 0.42, 0.7
MAIN = np.array([255.0, 130.0, 40.0]) / 255.0
BRANCH = np.array([80.0, 170.0, 255.0]) / 255.0
MASK = np.array([0.92, 0.96, 1.0])
NIGHT = np.array([0.03, 0.07, 0.13])
HEADING_DEG = 62.0
TITLE, LINE = "ComfyUI-CCM", "Synthetic corneal confocal microscopy: generate, measure, train"


def write(folder: Path) -> list[Path]:
    """Write icon.png and banner.png into a folder."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"banner": _with_title(banner()), "icon": icon()}
    written = []
    for name, picture in pictures.items():
        written.append(folder / f"{name}.png")
        levels = np.round(255.0 * np.clip(picture, 0.0, 1.0)).astype(np.uint8)
        Image.fromarray(levels).quantize(128).save(written[-1], optimize=True)
    return written


def banner() -> np.ndarray:
    """Mask on the left, frame in the middle, traced frame on the right, of one plexus, [720,1680,3] in 0..1."""
    return _stages(BANNER_PX, BANNER_UM_PER_PX, seed=3, borders=(0.335, 0.67))


def icon() -> np.ndarray:
    """Mask and traced frame of one plexus, [400,400,3] in 0..1."""
    return _stages((ICON_PX, ICON_PX), ICON_UM_PER_PX, seed=8, borders=(0.45, 0.45))


def _stages(
    size_px: tuple[int, int], um_per_px: float, seed: int, borders: tuple[float, float]
) -> np.ndarray:
    from ..ccm.phantom.mask import draw_mask
    from ..ccm.phantom.render import render, sample_appearance
    from ..ccm.phantom.topology import grow_tree
    from ..ccm.phantom.tree import TreeTargets

    rng = np.random.default_rng(seed)
    width, height = size_px
    targets = TreeTargets(20.0, 28.0, 45.0, 5.0, orientation_deg=HEADING_DEG)
    tree = grow_tree(targets, rng, (width * um_per_px, height * um_per_px))
    look = replace(sample_appearance(Cohort.CONTROL, rng), k_structures=0, dendritic_cells=0, defocus=0.1)
    frame = render(tree, look, rng, (height, width), um_per_px)[..., None] * np.ones(3)
    mask = draw_mask(tree, size_px, 7.0)[..., None] / 255.0
    drawn = NIGHT * (1.0 - mask) + MASK * mask
    x, y = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    slanted = x + 0.12 * (y - 0.5)
    picture = np.where((slanted < borders[0])[..., None], drawn, frame)
    return np.where((slanted >= borders[1])[..., None], _traced(frame, tree, size_px, um_per_px), picture)


def _traced(frame: np.ndarray, tree: NerveTree, size_px: tuple[int, int], um_per_px: float) -> np.ndarray:
    """The frame dimmed, with main fibres in orange over branches in blue."""
    from ..ccm.phantom.mask import draw_lines

    picture = 0.65 * frame
    for main, colour in ((False, BRANCH), (True, MAIN)):
        nerves = [nerve for nerve in tree.nerves if (nerve.role == "main") == main]
        lines = [(n.points_um / um_per_px, np.full(len(n.points_um), 5.0)) for n in nerves]
        ink = draw_lines(lines, size_px)[..., None] / 255.0
        picture = picture * (1.0 - ink) + colour * ink
    return picture


def _with_title(picture: np.ndarray) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    shaded = picture.copy()
    shaded[-190:] *= np.linspace(1.0, 0.18, 190)[:, None, None] ** 0.8
    sheet = Image.fromarray(np.round(255.0 * np.clip(shaded, 0.0, 1.0)).astype(np.uint8))
    draw = ImageDraw.Draw(sheet)
    draw.text((48, 588), TITLE, "white", ImageFont.load_default(72), anchor="ls")
    draw.text((50, 660), LINE, (214, 226, 240), ImageFont.load_default(36), anchor="ls")
    return np.asarray(sheet, dtype=np.float64) / 255.0
