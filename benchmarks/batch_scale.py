"""What a plan of 100,000 items costs the client: planning, memory, and the resume of a finished plan.

Most of the data set is written straight into the folder, as an earlier run would have; `python . batch` then makes what
is left on a stand-in for ComfyUI that answers at once, and runs again with nothing left to do.

plan_s: to expand the whole plan. peak_mb: highest resident memory of the command while it makes the items, and of the
run with nothing to do (resume_mb). resume_s: the whole command, from its start to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np

from ..batch import run as batch
from ..batch.making import Maker
from ..batch.plan import read_plan
from ..ccm.dataset.folder import DatasetFolder, Pictures
from ..ccm.dataset.marks import encode
from ..host.environment import INSIDE
from ..host.paths import OUTPUT, ROOT
from ..host.server import free_port

FOLDER = OUTPUT / "bench" / "batch-scale"
STAND_IN = ROOT / "tests" / "batch" / "stand_in.py"
PLAN = """
[dataset]
name = "scale"
folder = {folder}
size_px = 64
[cohorts.Control]
count = {count}
cnfl = 14.0
cnfd = 25.0
cnbd = 25.0
[mask]
source = "targets"
[quality]
measure = false
"""


def main(arguments: list[str]) -> int:
    """Measure, and print all figures as JSON on the last line."""
    options = parse(arguments)
    if not options.resume:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    plan_file = FOLDER / "plan.toml"
    plan_file.write_text(PLAN.format(folder=json.dumps(str(FOLDER / "set")), count=options.items), "utf-8")
    maker = batch.prepare(read_plan(plan_file))
    began = time.perf_counter()
    planned = sum(1 for _ in batch.items(maker))
    figures = {"items": planned, "plan_s": round(time.perf_counter() - began, 2), "served": options.served}
    fill(maker, options.items - options.served)
    with stand_in() as address:
        for name in ("peak", "resume"):
            seconds, peak = command(str(plan_file), address)
            figures |= {f"{name}_mb": peak, f"{name}_s": seconds}
    print(json.dumps(figures))
    return 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python . bench batch-scale", description="memory and time of a plan of 100,000 items"
    )
    parser.add_argument("--items", type=int, default=100_000, help="of the plan (default: 100000)")
    parser.add_argument("--served", type=int, default=2_000, help="made by the stand-in (default: 2000)")
    parser.add_argument("--resume", action="store_true", help="go on with a bench that was stopped")
    return parser.parse_args(arguments)


def fill(maker: Maker, count: int) -> None:
    """Write so many items as an earlier run would have, all with the same picture."""
    picture = encode(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    told = {"um_per_px": 6.25, "seconds": 0.1, "graph_sha256": maker.workflow.sha256}
    with DatasetFolder(maker.plan.folder) as folder:
        done = folder.done()
        for item in islice(batch.items(maker), count):
            if item.id in done:
                continue
            known = {**told, "request": item.request, "split": item.split, "mask_made": item.mask}
            row = folder.save(item.place, Pictures(picture, picture), {**known, "seed": item.seed_of(0)})
            folder.manifest.append([row])


@contextmanager
def stand_in() -> Iterator[str]:
    """Run the stand-in of the tests while the block lasts; gives its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(STAND_IN), "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def command(plan: str, address: str) -> tuple[float, float]:
    """Run `python . batch`; return its seconds and its highest resident memory in MB."""
    began = time.perf_counter()
    arguments = [sys.executable, str(ROOT), "batch", plan, "--server", address]
    process = subprocess.Popen(arguments, env={**os.environ, INSIDE: sys.executable})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"The command ended with status {status}")
    return round(time.perf_counter() - began, 2), round(usage.ru_maxrss / 1024, 1)
