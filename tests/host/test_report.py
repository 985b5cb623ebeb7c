"""Folders of real and generated frames to a report, in the real host: the good graph, and inputs that say nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ccm_pack.batch.client import Client, ExecutionError, Graph, Outputs, RefusedError
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
GRAPH: Graph = json.loads((ROOT / "workflows" / "api" / "evaluate.json").read_text("utf-8"))
SIDE = 96


def nerves(seed: int, side: int = SIDE) -> np.ndarray:
    """Four bright lines of random slope on noise, uint8 [side,side]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side]
    frame = 60.0 + 8.0 * rng.standard_normal((side, side))
    for offset in np.linspace(0.1, 0.9, 4):
        slope, shift = rng.uniform(-0.3, 0.3), side * (offset + rng.uniform(-0.05, 0.05))
        frame += 120.0 * np.exp(-((x - shift - slope * (y - side / 2)) ** 2) / 2.0)
    return frame.clip(0, 255).astype(np.uint8)


def write_set(
    folder: Path, seeds: Sequence[int], cohort: str = "Control", patients: bool = True, side: int = SIDE
) -> Path:
    """Frames and a table.csv; two frames belong to one patient."""
    folder.mkdir(parents=True)
    lines = ["frame,cohort,patient"]
    for number, seed in enumerate(seeds):
        Image.fromarray(nerves(seed, side)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{cohort},{f'p{number // 2}' if patients else ''}")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return write_set(tmp_path / "real", range(8))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return write_set(tmp_path / "made", range(100, 108), patients=False)


def graph_of(real: Path, generated: Path) -> Graph:
    graph = copy.deepcopy(GRAPH)
    graph["real frames"]["inputs"]["path"] = str(real)
    graph["generated frames"]["inputs"]["path"] = str(generated)
    return graph


def told(outputs: Outputs) -> str:
    """The text of the report, its line breaks made spaces."""
    return " ".join(outputs.text("report").split())


def refusal(client: Client, graph: Graph) -> str:
    """What the user is told of a graph that cannot run."""
    with pytest.raises((ExecutionError, RefusedError)) as raised:
        client.run(graph)
    if isinstance(raised.value, RefusedError):
        return json.dumps(raised.value.node_errors)
    return str(raised.value)


def test_two_folders_give_text_figures_and_a_page(
    client: Client, server: Any, real: Path, made: Path
) -> None:
    outputs = client.run(graph_of(real, made))
    text = told(outputs)
    assert text.startswith("8 generated frames against 8 real ones")
    assert "What cannot be concluded:" in text and "Not for clinical use" in text
    assert len(outputs.files("figures")) == 7
    saved = text.split("Saved in the output folder: ")[1].split(", ")
    pages = list(Path(server.base, "output").rglob(saved[0]))
    assert len(pages) == 1
    assert "Do generated frames look like real ones?" in pages[0].read_text("utf-8")
    document = json.loads(pages[0].with_suffix(".json").read_text("utf-8"))
    assert document["real"]["patients"] == 4 and document["extractor"]["name"] == "embedded nerve encoder"


def test_one_set_twice_is_called_so(client: Client, real: Path) -> None:
    text = told(client.run(graph_of(real, real)))
    assert "8 of 8 generated frames equal a real frame pixel for pixel" in text
    assert "Biomarkers: CANNOT BE CONCLUDED" in text


def test_one_frame_is_too_few(client: Client, real: Path, tmp_path: Path) -> None:
    one = write_set(tmp_path / "one", [200])
    assert "The generated set holds 1 frame" in refusal(client, graph_of(real, one))


def test_an_empty_folder_is_refused_before_anything_runs(client: Client, real: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refusal(client, graph_of(real, tmp_path / "empty"))


def test_mixed_sizes_are_refused_by_name(client: Client, real: Path, made: Path) -> None:
    Image.fromarray(nerves(300, 128)).save(made / "3.png")
    assert "3.png is 128 x 128 pixels" in refusal(client, graph_of(real, made))


def test_a_constant_frame_is_refused_by_name(client: Client, real: Path, made: Path) -> None:
    Image.fromarray(np.full((SIDE, SIDE), 90, np.uint8)).save(made / "5.png")
    assert "These generated frames are blank (one grey value): 5.png" in refusal(client, graph_of(real, made))


def test_a_frame_with_nan_is_refused_by_name(client: Client, real: Path, made: Path) -> None:
    (made / "2.png").unlink()
    table = (made / "table.csv").read_text().replace("2.png", "2.tif")
    (made / "table.csv").write_text(table)
    Image.fromarray(np.full((SIDE, SIDE), np.nan, np.float32)).save(made / "2.tif")
    assert "2.tif holds NaN or infinite values" in refusal(client, graph_of(real, made))


def test_sets_that_share_no_cohort_are_refused(client: Client, real: Path, tmp_path: Path) -> None:
    other = write_set(tmp_path / "other", range(100, 104), cohort="T1DPN")
    assert "The sets share no cohort" in refusal(client, graph_of(real, other))


def test_frames_without_a_cohort_get_a_report_but_equivalence_refuses_them_by_name(
    client: Client, real: Path, tmp_path: Path
) -> None:
    bare = write_set(tmp_path / "bare", range(100, 104), cohort="", patients=False)
    graph = graph_of(real, bare)
    text = told(client.run(graph))
    assert "These generated frames have no cohort: 0.png, 1.png, 2.png, 3.png" in text
    inputs = graph["report"]["inputs"]
    kept = ("real", "generated", "real_labels", "generated_labels", "design", "margins", "filename_prefix")
    graph["report"] = {"class_type": "CCM_Equivalence", "inputs": {name: inputs[name] for name in kept}}
    del graph["figures"]
    assert "These generated frames have no cohort: 0.png, 1.png, 2.png, 3.png" in refusal(client, graph)
