"""A run on a Ray cluster of this machine: the same frames and lines as a plain run, whichever worker dies.

Each worker starts a ComfyUI; here it is the stand-in.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from batch_helpers import hashes, rows_of, run, small_plan
from ccm_pack.batch import run as batch
from ccm_pack.batch.engines.ray_cluster import Cluster
from ccm_pack.batch.making import Maker
from ccm_pack.batch.plan import Plan
from ccm_pack.ccm.errors import HostError

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is an optional extra: pip install ray")
CHANGING = {"made", "server", "seconds"}


@pytest.mark.skipif(HAS_RAY, reason="Ray is there")
def test_without_ray_the_error_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"package ray.*pip install ray"):
        batch.run(small_plan(tmp_path), partial(Cluster, address=None, workers=2))


@needs_ray
def test_two_workers_make_the_same_frames_and_lines_as_a_plain_run(
    tmp_path: Path, comfy: Path, serve: Any
) -> None:
    spread, plain = small_plan(tmp_path / "a", (12, 12)), small_plan(tmp_path / "b", (12, 12))
    finished = batch.run(spread, partial(Cluster, address=None, workers=2))
    run(plain, [serve().address])
    assert finished.frames == 24
    assert hashes(spread) == hashes(plain)
    assert constant(spread) == constant(plain)
    assert {row["server"] for row in rows_of(spread)} == {"worker-0", "worker-1"}


@needs_ray
def test_the_items_of_a_killed_worker_are_made_again(tmp_path: Path, comfy: Path, serve: Any) -> None:
    spread, plain = small_plan(tmp_path / "a", (30, 30)), small_plan(tmp_path / "b", (30, 30))
    run(plain, [serve().address])
    killed: list[int] = []

    def engage(maker: Maker) -> Cluster:
        cluster = Cluster(maker, address=None, workers=2)
        threading.Thread(target=kill_a_worker, args=(spread, cluster, killed), daemon=True).start()
        return cluster

    assert batch.run(spread, engage).frames == 60
    assert killed and hashes(spread) == hashes(plain)


def constant(plan: Plan) -> list[dict[str, Any]]:
    """The lines of the manifest, less what differs from run to run."""
    rows = ({k: v for k, v in row.items() if k not in CHANGING} for row in rows_of(plan))
    return sorted(rows, key=lambda row: row["item"])


def kill_a_worker(plan: Plan, cluster: Cluster, killed: list[int]) -> None:
    """SIGKILL the process of a worker once some frames are there."""
    import ray

    pid = ray.get(cluster.workers[0].__ray_call__.remote(lambda _: os.getpid()))
    while not (plan.folder / "manifest.jsonl").is_file() or len(rows_of(plan)) < 10:
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    killed.append(pid)
