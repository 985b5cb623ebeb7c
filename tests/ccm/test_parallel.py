"""Work over processes: in order, with its errors, under whatever name the pack has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.frames.reading import frame_size, read_frame
from ccm_pack.ccm.parallel import map_processes
from PIL import Image


def save(folder: Path, widths: list[int]) -> list[Path]:
    files = [folder / f"{number}.png" for number in range(len(widths))]
    for file, width in zip(files, widths, strict=True):
        Image.new("L", (width, 5)).save(file)
    return files


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(tmp_path: Path, workers: int) -> None:
    widths = [5, 9, 3, 7]
    assert list(map_processes(frame_size, save(tmp_path, widths), workers)) == [(w, 5) for w in widths]


def test_errors_and_arrays_come_back_whole(tmp_path: Path) -> None:
    found = map_processes(read_frame, [*save(tmp_path, [4, 6]), tmp_path / "none.png"], 2)
    assert [next(found).shape, next(found).dtype] == [(5, 4), np.float32]
    with pytest.raises(ImageError, match=r"none\.png cannot be opened.*Fix: check the path"):
        next(found)


def test_no_items_need_no_process() -> None:
    assert list(map_processes(frame_size, [])) == []
