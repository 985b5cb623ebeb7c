"""CCM_NerveBiomarkers with the real host's classes, in this process."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import pytest
import torch
from ccm_pack.ccm.errors import ImageError, MaskError, PixelSizeError
from ccm_pack.host.locate import find


@pytest.fixture(scope="module")
def node() -> Any:
    folder = find()
    if folder is None:
        pytest.skip("no ComfyUI: set COMFYUI_PATH, or run `python . test` once")
    sys.path.insert(0, str(folder))
    importlib.import_module("comfy.cli_args").args.cpu = True
    return importlib.import_module("ccm_pack.biomarker_nodes.biomarkers").NerveBiomarkers


def masks(count: int = 2) -> torch.Tensor:
    """Frame n has n horizontal nerves of 4 pixels."""
    batch = torch.zeros((count, 384, 384))
    for frame in range(count):
        for nerve in range(frame):
            batch[frame, 60 + 80 * nerve : 64 + 80 * nerve] = 1.0
    return batch


def test_a_batch_gives_a_row_a_record_and_an_overlay_per_frame(node: Any) -> None:
    result = node.execute(masks(3), 400 / 384, torch.rand((3, 384, 384, 3)))
    table, text, overlay = result.args
    frames = json.loads(text)["frames"]
    assert [frame["main_fibres"] for frame in frames] == [0, 1, 2]
    assert frames[2]["cnfl_mm_per_mm2"] == pytest.approx(5.0)
    assert frames[0]["tortuosity_tc"] is None
    assert [line.split()[0] for line in table.splitlines()[2:5]] == ["1", "2", "3"]
    assert overlay.shape == (3, 798, 768, 3) and overlay.dtype == torch.float32
    assert result.ui.as_dict()["text"] == (table,)


def test_the_image_may_be_left_out(node: Any) -> None:
    assert node.execute(masks(), 1.0).args[2].shape[0] == 2


def test_a_field_of_view_bounds_length_and_area(node: Any) -> None:
    """The left half shows half of the nerves in half of the area, so that CNFL stays."""
    field = torch.zeros((1, 384, 384))
    field[:, :, :192] = 1.0
    frames = json.loads(node.execute(masks(3), 400 / 384, field_of_view=field).args[1])["frames"]
    assert frames[2]["frame_area_mm2"] == pytest.approx(0.08)
    assert frames[2]["length_um"] == pytest.approx(400.0)
    assert frames[2]["cnfl_mm_per_mm2"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    "field", [torch.ones((2, 384, 384)), torch.ones((1, 100, 384)), torch.zeros((1, 384, 384))]
)
def test_a_field_of_view_that_does_not_fit_is_refused(node: Any, field: torch.Tensor) -> None:
    with pytest.raises(MaskError, match="Fix: "):
        node.execute(masks(3), 1.0, field_of_view=field)


@pytest.mark.parametrize(
    ("mask", "size", "image", "error"),
    [
        (masks(), 0.0, None, PixelSizeError),
        (masks(), float("nan"), None, PixelSizeError),
        (torch.full((1, 8, 8), torch.nan), 1.0, None, MaskError),
        (torch.zeros((0, 8, 8)), 1.0, None, MaskError),
        (torch.zeros((1, 0, 8)), 1.0, None, MaskError),
        (masks(), 1.0, torch.zeros((3, 384, 384, 3)), ImageError),
        (masks(), 1.0, torch.zeros((2, 100, 100, 3)), ImageError),
        (masks(), 1.0, torch.full((2, 384, 384, 3), torch.nan), ImageError),
    ],
)
def test_what_cannot_be_measured_is_refused(
    node: Any, mask: Any, size: float, image: Any, error: Any
) -> None:
    with pytest.raises(error, match="Fix: "):
        node.execute(mask, size, image)
