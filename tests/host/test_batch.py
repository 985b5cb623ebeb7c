"""A batch on the real ComfyUI: the plan that ships in small, quality control, the node, and what reads the set."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ccm_pack.batch import run as batch
from ccm_pack.batch.engines.local import Local
from ccm_pack.batch.plan import Plan, read_plan
from ccm_pack.batch.server import ItemFault, connect
from ccm_pack.ccm.dataset.manifest import Manifest
from ccm_pack.ccm.dataset.marks import read_mark, read_texts
from ccm_pack.ccm.frames.listing import list_frames
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "workflows" / "plans" / "three_cohorts.toml"


def small(folder: Path, *settings: str) -> Plan:
    """The plan that ships, one frame of each cohort, by few steps."""
    counts = [f"cohorts.{cohort}.count=1" for cohort in ("Control", "T1NoDPN", "T1DPN")]
    chosen = [*counts, f"dataset.folder={folder.as_posix()!r}", "settings.steps=6", *settings]
    return read_plan(PLAN, tuple(chosen))


def rows(plan: Plan) -> list[dict[str, Any]]:
    return [row for _, row in Manifest(plan.folder / "manifest.jsonl").rows()]


@pytest.fixture(scope="module")
def made(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A finished data set, measured, without rejections."""
    plan = small(
        tmp_path_factory.mktemp("batch") / "set", "quality.gate=false", "quality.least_adherence=0.0"
    )
    finished = batch.run(plan, partial(Local, addresses=[server.address]))
    assert (finished.frames, finished.left_out) == (3, 0)
    return plan


def test_every_line_tells_models_versions_and_biomarkers(made: Plan) -> None:
    for row in rows(made):
        assert row["synthetic"] is True and row["status"] == "done"
        assert {"loras/embedded: wdlora", "ccm_nano_base.safetensors"} <= set(row["models"])
        assert row["versions"]["comfyui"] and row["biomarkers"]["cnfl_mm_per_mm2"] > 0
        assert 0.5 < row["adherence"] <= 1.0


def test_every_frame_holds_its_graph_and_the_mark(made: Plan) -> None:
    for row in rows(made):
        content = (made.folder / row["file"]).read_bytes()
        assert json.loads(read_texts(content)["prompt"])["7"]["inputs"]["seed"] == row["seed"]
        assert read_mark(content)["synthetic"] is True


def test_a_second_run_gives_the_same_bytes(made: Plan, server: Any, tmp_path: Path) -> None:
    again = small(tmp_path / "set", "quality.gate=false", "quality.least_adherence=0.0")
    batch.run(again, partial(Local, addresses=[server.address]))
    assert {r["item"]: r["sha256"] for r in rows(made)} == {r["item"]: r["sha256"] for r in rows(again)}


def test_the_card_has_numbers_plots_and_a_contact_sheet(made: Plan) -> None:
    card = (made.folder / "README.md").read_text("utf-8")
    assert "Synthetic, not for clinical use" in card and "| T1DPN | 1 | 1 | 0 |" in card
    assert (made.folder / "card" / "contact_sheet.png").is_file()
    assert (made.folder / "card" / "cnfl_mm_per_mm2.png").is_file()


def test_frames_that_are_not_good_enough_are_drawn_again_and_then_left_out(
    server: Any, tmp_path: Path
) -> None:
    plan = small(tmp_path / "set", "quality.least_adherence=1.0", "quality.redraws=1", "settings.steps=2")
    finished = batch.run(plan, partial(Local, addresses=[server.address]))
    assert (finished.frames, finished.left_out) == (0, 3)
    told = rows(plan)
    assert len(told) == 6 and {row["status"] for row in told} == {"rejected"}
    assert {row["draw"] for row in told} == {0, 1} and len({row["seed"] for row in told}) == 6
    again = batch.run(
        plan, partial(Local, addresses=["http://127.0.0.1:9"])
    )  # asks no server: it would be in vain
    assert (again.frames, again.left_out) == (0, 3)
    assert "below 1" in told[0]["error"] and "3 items have no frame" in (plan.folder / "README.md").read_text(
        "utf-8"
    )


def test_the_graph_of_the_browser_template_makes_a_data_set_with_its_masks(
    server: Any, tmp_path: Path
) -> None:
    counts = [f"cohorts.{cohort}.count=1" for cohort in ("Control", "T1NoDPN", "T1DPN")]
    folder = f"dataset.folder={(tmp_path / 'set').as_posix()!r}"
    chosen = (*counts, folder, "settings.steps=3", "quality.measure=false", "quality.gate=false")
    plan = read_plan(PLAN.with_name("data_set_overnight.toml"), chosen)
    assert batch.run(plan, partial(Local, addresses=[server.address])).frames == 3
    row = rows(plan)[0]
    graph = json.loads(read_texts((plan.folder / row["file"]).read_bytes())["prompt"])
    assert graph["ccm_mask"]["inputs"]["image"].startswith("ccm_batch/")
    assert "CCM_GenerateNerveMask" not in {node["class_type"] for node in graph.values()}
    assert all((plan.folder / told["mask"]).is_file() for told in rows(plan))


def test_a_graph_of_which_an_output_is_invalid_is_refused_and_the_node_named(server: Any) -> None:
    """ComfyUI would queue the rest of it."""
    grey = {"width": 64, "height": 64, "batch_size": 1, "color": 0x070A0D}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": grey},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "3": {"class_type": "EmptyImage", "inputs": grey | {"width": -1}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }

    async def ask() -> None:
        async with connect(server.address, 30.0, 60.0) as connection:
            await connection.run(graph, str(uuid4()), "2")

    with pytest.raises(ItemFault, match=r"not all of its outputs can be made; node 3 \(EmptyImage\)"):
        asyncio.run(ask())


def test_the_node_writes_the_same_layout(server: Any, client: Any) -> None:
    graph = json.loads((ROOT / "workflows" / "api" / "batch.json").read_text("utf-8"))
    graph["3"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 64, "height": 64}}
    graph["8"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 255},
    }
    told = {"folder": "twin", "cohort": "Control", "patient": "SYN0007", "eye": "OS"}
    graph = {n: graph[n] for n in ("3", "8")}
    graph["9"] = {"class_type": "CCM_SaveDataset", "inputs": {"images": ["8", 0], "masks": ["3", 0], **told}}
    client.run(graph)
    root = server.base / "output" / "twin"
    found = list_frames(root)
    assert found.layout == "table" and len(found.records) == 2
    record = found.records[1]
    assert record.frame.name == "sub-SYN0007_sample-OS_run-002_CONF.png" and record.mask is not None
    assert (record.patient, record.eye, record.um_per_px) == ("SYN0007", "OS", 6.25)
    assert read_mark(record.frame.read_bytes())["synthetic"] is True
    assert "9" in json.loads(read_texts(record.frame.read_bytes())["prompt"])


def test_the_data_set_is_taken_by_the_trainers_check_as_it_is(made: Plan) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT), "dataset", "check", str(made.folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Frames:     3, of which 3 with a mask" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide uses curl")
def test_the_api_guide_of_the_documentation_works_as_printed(server: Any, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "batch.md").read_text("utf-8").replace("http://127.0.0.1:8188", server.address)
    upload = next(line.strip() for line in page.splitlines() if "curl -F image=@mask.png" in line)
    code = textwrap.dedent(page[page.index("    import json, time") : page.index("`GET /ccm/provenance")])
    few_steps = code.replace('["seed"] = 42', '["seed"] = 42; graph["7"]["inputs"]["steps"] = 2')
    mask = Image.new("L", (384, 384))
    mask.paste(255, (100, 0, 103, 384))
    mask.save(tmp_path / "mask.png")
    (tmp_path / "workflows").symlink_to(ROOT / "workflows")
    subprocess.run(shlex.split(upload), cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([sys.executable, "-c", few_steps], cwd=tmp_path, check=True)
    assert Image.open(tmp_path / "frame.png").size == (384, 384)
