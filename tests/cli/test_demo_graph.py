"""The demo's graphs before they are sent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import ImageError, PixelSizeError
from ccm_pack.cli import demo_graph
from PIL import Image, ImageSequence


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((384, 200), np.uint8)).save(tmp_path / "frame.png")
    return tmp_path / "frame.png"


def seeds(graph: demo_graph.Graph) -> list[int]:
    return [node["inputs"]["seed"] for node in graph.values() if "seed" in node["inputs"]]


def test_a_seed_moves_every_seed_of_the_graph() -> None:
    before, after = demo_graph.prepare(None, None, 0), demo_graph.prepare(None, None, 5)
    assert seeds(after) == [seed + 5 for seed in seeds(before)]
    assert len(seeds(before)) >= 6


def test_the_graph_for_generated_masks_reads_no_file() -> None:
    classes = {node["class_type"] for node in demo_graph.prepare(None, None, 0).values()}
    assert not classes & {"LoadImage", "CCM_LoadFrames"}


def test_the_comparison_takes_the_frames_of_every_cohort() -> None:
    graph = demo_graph.prepare(None, None, 0)
    added = demo_graph.comparison(graph, "reference.tiff", seed=5)
    sources = {
        link[0] for node in added.values() for link in node["inputs"].values() if isinstance(link, list)
    }
    assert sources - set(added) == {demo_graph.find(graph, f"{cohort.value} frame") for cohort in Cohort}
    assert not set(graph) & set(added)
    assert added[demo_graph.find(added, "Fidelity")]["inputs"]["seed"] == 5


@pytest.mark.parametrize("name", ["demo", "frame"])
def test_every_sampler_is_set_as_the_help_page_says(name: str) -> None:
    graph = json.loads((demo_graph.API / f"{name}.json").read_text("utf-8"))
    used = [node["inputs"] for node in graph.values() if node["class_type"] == "KSampler"]
    chosen = {(i["sampler_name"], i["scheduler"], i["steps"], i["cfg"]) for i in used}
    assert chosen == {("dpmpp_2m", "beta", 12, 1.5)}


def test_a_frame_is_taken_to_be_400_um_wide(frame: Path) -> None:
    graph = demo_graph.prepare(frame, None, 0)
    node = graph[demo_graph.find(graph, demo_graph.REAL_MEASURE)]
    assert node["inputs"]["um_per_px"] == pytest.approx(2.0)


def test_a_given_pixel_size_counts(frame: Path) -> None:
    graph = demo_graph.prepare(frame, 0.9, 0)
    node = graph[demo_graph.find(graph, demo_graph.REAL_SEGMENT)]
    assert node["inputs"]["um_per_px"] == 0.9
    with pytest.raises(PixelSizeError):
        demo_graph.prepare(frame, 0.0, 0)


def test_a_frame_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"x\.png cannot be opened"):
        demo_graph.prepare(tmp_path / "x.png", None, 0)
    with pytest.raises(ImageError, match=r"y\.png cannot be opened"):
        demo_graph.prepare(tmp_path / "y.png", None, 0)


def test_the_reference_set_holds_as_many_frames_of_field_size_as_asked_for(tmp_path: Path) -> None:
    file = demo_graph.write_reference(tmp_path / "reference.tiff", seed=1, count=3)
    with Image.open(file) as pages:
        assert [page.size for page in ImageSequence.Iterator(pages)] == [(384, 384)] * 3
