"""Whole runs against a stand-in for ComfyUI: what is made, what is kept, and what happens when servers misbehave."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_helpers import Server, hashes, rows_of, run, small_plan
from ccm_pack.batch import run as batch
from ccm_pack.batch.plan import Plan
from ccm_pack.ccm.dataset.marks import read_mark, read_texts
from ccm_pack.ccm.errors import DataError, GraphError, HostError
from ccm_pack.ccm.frames.listing import list_frames

Serve = Callable[..., Server]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


def test_every_item_becomes_one_frame_one_mask_and_one_line(tmp_path: Path, serve: Serve) -> None:
    plan = small_plan(tmp_path)
    finished = run(plan, [serve().address])
    assert (finished.frames, finished.left_out, finished.stopped) == (10, 0, False)
    assert len(hashes(plan)) == 10
    for kind in ("frames", "masks"):
        assert len(list((plan.folder / kind).rglob("*.png"))) == 10
    assert not list(plan.folder.rglob("*.part"))


def test_every_picture_and_every_line_says_that_it_is_synthetic(tmp_path: Path, serve: Serve) -> None:
    plan = small_plan(tmp_path)
    run(plan, [serve().address])
    pictures = list(plan.folder.rglob("*.png"))
    assert len(pictures) == 21  # frames, masks, contact sheet
    assert all(read_mark(file.read_bytes())["synthetic"] is True for file in pictures)
    assert all(row["synthetic"] is True and "SYN" in row["patient"] for row in rows_of(plan))
    assert all("synthetic" in line for line in (plan.folder / "table.csv").read_text().splitlines()[1:])


def test_every_frame_carries_the_graph_that_made_it(tmp_path: Path, serve: Serve) -> None:
    plan = small_plan(tmp_path)
    run(plan, [serve().address])
    row = rows_of(plan)[0]
    graph = json.loads(read_texts((plan.folder / row["file"]).read_bytes())["prompt"])
    assert graph["7"]["inputs"]["seed"] == row["seed"]
    assert graph["4"]["inputs"]["cohort"] == row["cohort"]


def test_the_data_set_is_read_as_a_table_with_patients_in_one_split_each(
    tmp_path: Path, serve: Serve
) -> None:
    plan = small_plan(tmp_path, counts=(24, 24))
    run(plan, [serve().address])
    found = list_frames(plan.folder)
    assert found.layout == "table" and len(found.records) == 48
    assert {record.um_per_px for record in found.records} == {6.25}
    splits = {(record.patient, record.split) for record in found.records}
    assert len(splits) == len({patient for patient, _ in splits}) == 12
    assert {record.eye for record in found.records} == {"OD", "OS"}
    lists = json.loads((plan.folder / "dataset.json").read_text())
    assert sum(len(lists[name]) for name in ("training", "validation", "test")) == 48
    assert all((plan.folder / pair["label"]).is_file() for pair in lists["training"])


def test_a_finished_plan_asks_no_server(tmp_path: Path, serve: Serve) -> None:
    plan = small_plan(tmp_path)
    run(plan, [serve().address])
    before = (plan.folder / "manifest.jsonl").read_bytes()
    drawn = (plan.folder / "README.md").stat().st_mtime_ns
    assert run(plan, ["http://127.0.0.1:9"]).frames == 10
    assert (plan.folder / "manifest.jsonl").read_bytes() == before
    assert (plan.folder / "README.md").stat().st_mtime_ns == drawn


def test_a_missing_a_short_and_with_verify_a_changed_file_are_made_again(
    tmp_path: Path, serve: Serve
) -> None:
    plan = small_plan(tmp_path)
    server = serve()
    run(plan, [server.address])
    files = [plan.folder / row["file"] for row in rows_of(plan)[:3]]
    whole = [file.read_bytes() for file in files]
    files[0].unlink()
    files[1].write_bytes(whole[1][:100])
    files[2].write_bytes(whole[2][:-1] + b"x")
    run(plan, [server.address])
    assert [files[n].read_bytes() == whole[n] for n in range(3)] == [True, True, False]
    run(plan, [server.address], rehash=True)
    assert files[2].read_bytes() == whole[2]


def test_a_plan_that_grows_keeps_what_is_made(tmp_path: Path, serve: Serve) -> None:
    server = serve()
    small, large = small_plan(tmp_path, counts=(2, 2)), small_plan(tmp_path, counts=(5, 3))
    run(small, [server.address])
    first = hashes(small)
    run(large, [server.address])
    assert len(hashes(large)) == 8 and first.items() <= hashes(large).items()


def test_another_plan_does_not_touch_the_folder(tmp_path: Path, serve: Serve) -> None:
    server = serve()
    run(small_plan(tmp_path), [server.address])
    with pytest.raises(DataError, match="by another plan"):
        run(small_plan(tmp_path, settings={"steps": 7}), [server.address])


def test_two_runs_do_not_share_a_folder(tmp_path: Path, serve: Serve) -> None:
    from ccm_pack.ccm.dataset.folder import DatasetFolder

    plan = small_plan(tmp_path)
    with DatasetFolder(plan.folder), pytest.raises(DataError, match="written by another process"):
        run(plan, [serve().address])


def test_the_order_and_the_number_of_servers_do_not_change_a_frame(tmp_path: Path, serve: Serve) -> None:
    one, two = small_plan(tmp_path / "one"), small_plan(tmp_path / "two", servers={"window": 1})
    run(one, [serve().address])
    run(two, [serve("--seconds", "0.02").address, serve("--seconds", "0.01").address])
    assert hashes(one) == hashes(two)
    assert len({row["server"] for row in rows_of(two)}) == 2


def test_a_server_that_dies_for_good_leaves_its_items_to_the_other(tmp_path: Path, serve: Serve) -> None:
    plan = small_plan(tmp_path, counts=(30, 30))
    dying, living = serve("--seconds", "0.02"), serve("--seconds", "0.02")
    after(plan, 8, dying.kill)
    finished = run(plan, [dying.address, living.address])
    assert finished.frames == 60 and finished.left_out == 0
    assert len(hashes(plan)) == 60


def test_a_server_that_comes_back_goes_on(tmp_path: Path, serve: Serve) -> None:
    plan = small_plan(tmp_path, counts=(15, 15), servers={"patience_s": 60.0})
    server = serve("--seconds", "0.02")

    def restart() -> None:
        server.kill()
        server.start()

    after(plan, 8, restart)
    assert run(plan, [server.address]).frames == 30
    assert len(hashes(plan)) == 30


def test_without_a_server_the_run_ends_after_its_patience_and_keeps_what_is_made(
    tmp_path: Path, serve: Serve
) -> None:
    plan = small_plan(tmp_path, counts=(15, 15), servers={"patience_s": 1.0})
    server = serve("--seconds", "0.02")
    after(plan, 8, server.kill)
    with pytest.raises(HostError, match=r"No server is left.*was given up"):
        run(plan, [server.address])
    kept = hashes(plan)
    assert 8 <= len(kept) < 30
    server.start()
    assert run(plan, [server.address]).frames == 30
    assert kept.items() <= hashes(plan).items()


@pytest.mark.parametrize(
    "fault", ["500", "foreign", "foreign-picture", "cut", "lost-picture", "interrupted", "half", "fail"]
)
def test_a_passing_fault_costs_nothing(tmp_path: Path, serve: Serve, fault: str) -> None:
    plan, sound = small_plan(tmp_path / "a"), small_plan(tmp_path / "b")
    run(plan, [serve("--fault", fault, "--faulty", "2").address])
    run(sound, [serve().address])
    assert hashes(plan) == hashes(sound)


@pytest.mark.parametrize("fault", ["500", "hang", "garbage", "foreign", "foreign-picture", "cut"])
def test_a_lasting_fault_ends_the_run_with_its_name_and_nothing_wrong_is_kept(
    tmp_path: Path, serve: Serve, fault: str
) -> None:
    said = {
        "500": "status 500",
        "hang": "does not answer /prompt",
        "garbage": "login page",
        "foreign": "another graph",
        "foreign-picture": "another graph made",
        "cut": "no picture",
    }
    plan = small_plan(tmp_path, servers={"answer_s": 0.5, "patience_s": 1.0})
    with pytest.raises(HostError, match=said[fault]):
        run(plan, [serve("--fault", fault).address])
    assert hashes(plan) == {} and not list(plan.folder.rglob("*_CONF.png"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("refuse", "never fits"),
        ("half", r"not all of its outputs can be made; node 12 \(SaveImage\): .*left out. Fix: correct"),
        ("fail", "out of memory"),
    ],
)
def test_a_graph_that_always_fails_ends_the_run_soon(
    tmp_path: Path, serve: Serve, fault: str, said: str
) -> None:
    plan = small_plan(tmp_path, counts=(500, 500))
    with pytest.raises(GraphError, match=rf"\d items in a row failed.*{said}"):
        run(plan, [serve("--fault", fault).address])
    failed = [row for row in rows_of(plan) if row["status"] == "failed"]
    assert len(failed) == 4 and all(re.search(said, row["error"]) for row in failed)


def test_one_item_that_cannot_be_made_is_set_aside_and_named_on_the_card(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ccm_pack.batch.masks import GrownMasks
    from ccm_pack.ccm.errors import TargetError

    plan = small_plan(tmp_path)
    draw = GrownMasks.draw
    bad = next(iter(batch.items(batch.prepare(plan))))

    def sometimes(self: Any, spec: dict[str, Any]) -> bytes:
        if spec == bad.mask:
            raise TargetError("no tree grows", fix="ask for less")
        return draw(self, spec)

    monkeypatch.setattr(GrownMasks, "draw", sometimes)
    server = serve()
    finished = run(plan, [server.address])
    assert (finished.frames, finished.left_out) == (9, 1)
    assert f"{bad.id}: no tree grows" in (plan.folder / "README.md").read_text()
    monkeypatch.undo()
    assert run(plan, [server.address]).frames == 10
    assert "0 items have no frame" in (plan.folder / "README.md").read_text()


def test_a_missing_node_and_a_missing_model_are_named_before_the_first_item(
    tmp_path: Path, serve: Serve
) -> None:
    graph = json.loads((Path(batch.__file__).parents[1] / "workflows/api/batch.json").read_text())
    graph["8"]["class_type"] = "VAEDecodeTyled"
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    slots = {
        "frame": "Frame",
        "seed": "Sampler.seed",
        "mask": "Nerve mask.image",
        "adapter": "Adapter.adapter",
    }
    plan = small_plan(
        tmp_path, graph={"file": "graph.json", "slots": slots}, settings={"adapter": "mine.safetensors"}
    )
    server = serve()
    with pytest.raises(
        GraphError,
        match=r"'mine\.safetensors', which is not.*no node VAEDecodeTyled.*did you mean 'VAEDecode'",
    ):
        run(plan, [server.address])
    assert rows_of(plan) == []


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_folder_that_takes_no_more_ends_the_run_and_loses_nothing(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, problem: int
) -> None:
    plan, server = small_plan(tmp_path, counts=(10, 10)), serve()
    refuse_after(7, problem, monkeypatch)
    with pytest.raises(DataError, match=rf"{os.strerror(problem)}.*make room.*repeat the command"):
        run(plan, [server.address])
    kept = hashes(plan)
    assert len(kept) == 7 and not list(plan.folder.rglob("*.part"))
    monkeypatch.undo()
    assert run(plan, [server.address]).frames == 20
    assert kept.items() <= hashes(plan).items()


def refuse_after(frames: int, problem: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk take so many frames, and half of the next."""
    write, count = Path.write_bytes, 0

    def limited(self: Path, content: bytes) -> int:
        nonlocal count
        count += "frames" in self.parts
        if count > frames:
            write(self, content[: len(content) // 2])
            raise OSError(problem, os.strerror(problem), str(self))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", limited)


def test_a_disk_that_is_really_full_ends_the_run_and_with_room_it_goes_on(
    tmp_path: Path, serve: Serve
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        plan, server = small_plan(disk, counts=(40, 0)), serve()
        with pytest.raises(DataError, match="No space left.*repeat the command"):
            run(plan, [server.address])
        kept = hashes(plan)
        assert 0 < len(kept) < 40
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert run(plan, [server.address]).frames == 40
        assert kept.items() <= hashes(plan).items()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def after(plan: Plan, frames: int, act: Callable[[], None]) -> None:
    """Do something once so many frames are recorded, from another thread."""
    import threading
    import time

    def watch() -> None:
        while not (plan.folder / "manifest.jsonl").is_file() or len(rows_of(plan)) < frames:
            time.sleep(0.01)
        act()

    threading.Thread(target=watch, daemon=True).start()


def test_servers_that_are_named_twice_are_refused(tmp_path: Path, serve: Serve) -> None:
    server = serve()
    with pytest.raises(HostError, match="named twice"):
        run(small_plan(tmp_path), [server.address, server.address + "/"])


def test_a_range_is_drawn_for_each_item_and_stays_with_it(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, settings={"control_strength": [0.5, 1.0], "steps": [8, 12]})
    first, again = (list(batch.items(batch.prepare(plan))) for _ in range(2))
    assert first == again
    assert len({item.values["control_strength"] for item in first}) == 10
    assert {item.values["steps"] for item in first} <= set(range(8, 13))
    other = batch.prepare(replace(plan, dataset=replace(plan.dataset, seed=4)))
    assert all(a.request != b.request for a, b in zip(first, batch.items(other), strict=True))
