"""Plans of any size take little memory: items are made one by one, and what is done is remembered by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_helpers import small_plan
from ccm_pack.batch import run as batch
from ccm_pack.ccm.dataset.folder import DatasetFolder
from ccm_pack.ccm.dataset.manifest import DONE
from ccm_pack.host.environment import INSIDE

ROOT = Path(__file__).resolve().parents[2]


def peak_bytes(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_expanding_ten_times_the_plan_takes_no_more_memory(tmp_path: Path) -> None:
    def expand(count: int) -> int:
        maker = batch.prepare(small_plan(tmp_path, (count, count)))
        return peak_bytes(lambda: sum(1 for _ in batch.items(maker)))

    expand(10)  # what is imported and cached the first time
    assert expand(2000) < expand(200) + 50_000


def test_a_finished_item_is_remembered_by_less_than_a_kilobyte(tmp_path: Path) -> None:
    row = {"status": DONE, "file": "frame.png", "bytes": 4, "sha256": "x", "filler": "y" * 1000}
    (tmp_path / "frame.png").write_bytes(b"four")
    lines = [json.dumps({**row, "item": f"item-{n}", "request": f"{n:064}"}) for n in range(5000)]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    assert peak_bytes(lambda: DatasetFolder(tmp_path).done()) < 5000 * 1000


@pytest.mark.soak
def test_the_command_stays_under_300_mb_with_a_hundred_thousand_items() -> None:
    command = [sys.executable, str(ROOT), "bench", "batch-scale"]
    done = subprocess.run(command, env={**os.environ, INSIDE: sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["items"] == 100_000
    assert figures["peak_mb"] < 300 and figures["resume_mb"] < 300
