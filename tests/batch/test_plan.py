"""Plans: what is refused and with which advice, what items they become, and that the documentation knows every key."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_helpers import small_plan
from ccm_pack.batch import run as batch
from ccm_pack.batch.graph import DEFAULT_SLOTS, read_workflow
from ccm_pack.batch.plan import documented, parse_plan, read_plan
from ccm_pack.ccm.dataset.marks import decode
from ccm_pack.ccm.errors import DataError, PlanError
from ccm_pack.ccm.morphometry import measure_nerves
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "workflows" / "plans").glob("*.toml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_plan_that_ships_can_be_expanded_and_its_first_mask_drawn(file: Path) -> None:
    plan = read_plan(file)
    maker = batch.prepare(plan)
    items = list(batch.items(maker))
    assert len(items) == plan.total
    assert decode(maker.masks.draw(items[0].mask)).shape == (plan.dataset.size_px,) * 2


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"dataset": {"nam": "x"}}, "unknown key 'nam'.*name"),
        ({"dataset": {"name": "x"}}, "asks for no cohort"),
        ({"cohorts": {"Control": {"count": 1}}}, "lacks dataset.name"),
        ({"dataset": {"name": "x"}, "cohorts": {"Contral": {"count": 1}}}, "Unknown cohort 'Contral'"),
        ({"dataset": {"name": "x"}, "cohorts": {"Control": {"count": 0}}}, "1 to 1e.07"),
        (
            {"dataset": {"name": "x"}, "cohorts": {"Control": {"count": 1}}, "mask": {"source": "folder"}},
            "mask.path",
        ),
        (
            {"dataset": {"name": "../x"}, "cohorts": {"Control": {"count": 1}}},
            "a name that a folder can have",
        ),
        ({"dataset": {"name": "x", "size_px": 100}, "cohorts": {"Control": {"count": 1}}}, "a multiple of 8"),
        (
            {"dataset": {"name": "x"}, "cohorts": {"Control": {"count": 1}}, "settings": {"steps": [5, 1]}},
            r"\[low, high\]",
        ),
        (
            {"dataset": {"name": "x"}, "cohorts": {"Control": {"count": 1}}, "mask": {"source": "targets"}},
            "cnfl and cnfd for Control",
        ),
        ({"dataset": {"name": "x"}, "cohort": {}}, "unknown table 'cohort'.*cohorts"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_key_and_what_it_may_be(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=f"(?s){said}"):
        parse_plan(tables, Path("plan.toml"))


def test_a_plan_that_is_not_there_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no.toml cannot be read.*workflows/plans"):
        read_plan(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("[dataset\n")
    with pytest.raises(PlanError, match="bad.toml is not TOML"):
        read_plan(tmp_path / "bad.toml")


def test_a_setting_on_the_command_line_replaces_a_key_of_any_depth() -> None:
    plan = read_plan(EXAMPLES[0], ("cohorts.Control.count=3", "settings.steps=5"))
    assert plan.cohorts["Control"].count == 3 and plan.settings["steps"] == 5


def test_the_documentation_explains_every_key_and_every_slot() -> None:
    page = (ROOT / "docs" / "batch.md").read_text("utf-8")
    for table, keys in documented().items():
        assert f"[{table}]" in page
        for key, _ in keys:
            assert f"`{key.name}`" in page, f"{table}.{key.name}"
    assert all(f"`{slot}`" in page for slot in DEFAULT_SLOTS)


def test_patients_are_invented_and_each_has_its_frames_in_both_eyes(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, (8, 8))
    items = list(batch.items(batch.prepare(plan)))
    assert len({item.id for item in items}) == len({item.request for item in items}) == 16
    counted = Counter((item.place.patient, item.place.eye) for item in items)
    assert set(counted.values()) == {2} and len(counted) == 8
    assert all(item.place.patient.startswith("SYN") for item in items)
    assert items[0].id == "sub-SYNControl00001_sample-OD_run-001"


def test_cohorts_take_turns_so_that_a_run_that_is_stopped_is_balanced(tmp_path: Path) -> None:
    items = batch.items(batch.prepare(small_plan(tmp_path, (8, 8))))
    assert [next(items).place.cohort for _ in range(4)] == ["Control", "T1DPN", "Control", "T1DPN"]


def test_splits_have_the_shares_that_were_asked_for(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, (800, 800))
    counted = Counter(item.split for item in batch.items(batch.prepare(plan)))
    assert abs(counted["train"] / 1600 - 0.7) < 0.02 and abs(counted["test"] / 1600 - 0.15) < 0.02


def test_a_grown_mask_measures_what_its_cohort_was_told(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, dataset={"size_px": 384})
    maker = batch.prepare(plan)
    mask = decode(maker.masks.draw(next(batch.items(maker)).mask)) > 127
    assert measure_nerves(mask, 400 / 384).cnfl_mm_per_mm2 == pytest.approx(14.0, rel=0.1)


def test_masks_of_a_folder_go_to_the_cohort_whose_name_they_lie_under(tmp_path: Path) -> None:
    for cohort, x in (("Control", 20), ("T1DPN", 40)):
        for n in range(2):
            picture = np.zeros((64, 64), np.uint8)
            picture[:, x + n : x + n + 3] = 255
            (tmp_path / "own" / cohort).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "own" / cohort / f"John_Smith_{n}.png")
    maker = batch.prepare(small_plan(tmp_path, mask={"source": "folder", "path": "own"}))
    items = list(batch.items(maker))
    columns = {item.place.cohort: set() for item in items}
    for item in items:
        columns[item.place.cohort].add(int(np.argwhere(decode(maker.masks.draw(item.mask)) > 0)[:, 1].mean()))
    assert all(18 <= x <= 24 for x in columns["Control"]) and all(38 <= x <= 44 for x in columns["T1DPN"])
    assert not any("Smith" in json.dumps([item.mask, item.values]) for item in items)


def test_masks_like_a_table_have_the_numbers_of_its_usable_rows(tmp_path: Path) -> None:
    heading = "frame,cohort,cnfl_mm_per_mm2,cnfd_per_mm2,cnbd_per_mm2,quality,error\n"
    rows = "a,Control,20,30,40,,\nb,Control,1,1,1,blurred,\nc,T1DPN,9,18.75,12.5,,\n"
    (tmp_path / "measured.csv").write_text(heading + rows)
    plan = parse_plan(
        {
            "dataset": {"name": "x", "size_px": 384},
            "cohorts": {"Control": {"count": 2}, "T1DPN": {"count": 2, "tortuosity": 5.0}},
            "mask": {"source": "table", "path": "measured.csv"},
        },
        tmp_path / "plan.toml",
    )
    maker = batch.prepare(plan)
    for item in batch.items(maker):
        wanted = 20.0 if item.place.cohort == "Control" else 9.0
        assert {t["cnfl"] for t in item.mask["targets"]} == {wanted}
        mask = decode(maker.masks.draw(item.mask)) > 127
        assert measure_nerves(mask, 400 / 384).cnfl_mm_per_mm2 == pytest.approx(wanted, rel=0.15)


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,cohort\na,Control\n")
    with pytest.raises(DataError, match=r"no column cnbd.*python \. measure"):
        batch.prepare(small_plan(tmp_path, mask={"source": "table", "path": "t.csv"}))


def test_slots_lead_to_titles_or_ids_and_near_misses_are_named(tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"seed": 0, "steps": 4}, "_meta": {"title": "Sampler"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }
    (tmp_path / "g.json").write_text(json.dumps(graph))

    def workflow(**slots: str) -> Any:
        return read_workflow(small_plan(tmp_path, graph={"file": "g.json", "slots": slots}))

    filled = workflow(frame="2", seed="Sampler.seed").fill({"seed": 7, "nothing": 1})
    assert filled["1"]["inputs"] == {"seed": 7, "steps": 4}
    with pytest.raises(PlanError, match="Sampler"):
        workflow(frame="2", seed="Sampller.seed")
    with pytest.raises(PlanError, match="no input 'sed'.*seed"):
        workflow(frame="2", seed="Sampler.sed")
    with pytest.raises(PlanError, match="has no slot frame"):
        workflow(seed="Sampler.seed")


def test_a_mask_that_a_graph_makes_is_replaced_and_what_the_frame_does_not_need_is_left_out(
    tmp_path: Path,
) -> None:
    made = {"class_type": "CCM_GenerateNerveMask", "inputs": {"seed": 3}}
    control = {"class_type": "CCM_ApplyNerveMaskControl", "inputs": {"mask": ["1", 0], "strength": 1.0}}
    sampler = {"class_type": "KSampler", "inputs": {"seed": 0, "positive": ["2", 0]}}
    save = {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}}
    quality = {"class_type": "CCM_FrameQuality", "inputs": {"image": ["3", 0]}}
    graph = {"1": made, "2": control, "3": sampler, "4": save, "5": quality}
    (tmp_path / "g.json").write_text(json.dumps(graph))
    slots = {"frame": "SaveImage", "seed": "KSampler.seed", "mask": "CCM_ApplyNerveMaskControl.mask"}
    workflow = read_workflow(small_plan(tmp_path, graph={"file": "g.json", "slots": slots}))
    filled = workflow.fill({"mask": "a.png [temp]", "seed": 7})
    assert set(filled) == {"2", "3", "4", "ccm_mask"}
    assert filled["ccm_mask"]["class_type"] == "LoadImageMask"
    assert filled["ccm_mask"]["inputs"] == {"image": "a.png [temp]", "channel": "red"}
    assert filled["2"]["inputs"] == {"mask": ["ccm_mask", 0], "strength": 1.0}
    with pytest.raises(PlanError, match="slot seed leads to 'seed' of node 1, which the frame does not"):
        slots["seed"] = "CCM_GenerateNerveMask.seed"
        read_workflow(small_plan(tmp_path, graph={"file": "g.json", "slots": slots}))


def test_a_graph_for_the_browser_is_refused_with_what_to_export(tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text(json.dumps({"nodes": [], "links": []}))
    with pytest.raises(PlanError, match=r"graph for the browser.*Export \(API\)"):
        batch.prepare(small_plan(tmp_path, graph={"file": "g.json"}))


def test_a_setting_without_a_slot_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="settings.guidence has no slot.*guidance"):
        batch.prepare(small_plan(tmp_path, settings={"guidence": 2.0}))
    with pytest.raises(PlanError, match=r"settings\.seed is set by the batch"):
        batch.prepare(small_plan(tmp_path, settings={"seed": 2}))
