"""Stand-ins for ComfyUI in processes of their own, small plans for them, and what a run left."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ccm_pack.batch import run as batch
from ccm_pack.batch.engines.local import Local
from ccm_pack.batch.plan import Plan, parse_plan
from ccm_pack.batch.run import Finished
from ccm_pack.ccm.dataset.manifest import Manifest

STAND_IN = Path(__file__).with_name("stand_in.py")


@dataclass
class Server:
    """A stand-in on one port, which can be killed and started again."""

    port: int
    options: list[str]
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        command = [sys.executable, str(STAND_IN), "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def small_plan(folder: Path, counts: tuple[int, int] = (6, 4), **tables: Any) -> Plan:
    """A plan without measuring, for a data set below `folder`."""
    control, patients = counts
    given: dict[str, Any] = {
        "dataset": {"name": "small", "folder": str(folder / "set"), "size_px": 64, "seed": 3},
        "cohorts": {name: {"count": n} for name, n in (("Control", control), ("T1DPN", patients)) if n},
        "mask": {"source": "targets"},
        "quality": {"measure": False},
        "servers": {"answer_s": 1.0, "stall_s": 2.0, "patience_s": 3.0},
    }
    for name, keys in tables.items():
        given[name] = given.get(name, {}) | keys
    for cohort in given["cohorts"].values():
        cohort |= {"cnfl": 14.0, "cnfd": 25.0, "cnbd": 25.0}
    return parse_plan(given, folder / "plan.toml")


def rows_of(plan: Plan) -> list[dict[str, Any]]:
    return [row for _, row in Manifest(plan.folder / "manifest.jsonl").rows()]


def hashes(plan: Plan) -> dict[str, str]:
    """Item -> hash of its frame, of finished items; two lines of one item are an error."""
    done = [(row["item"], row["sha256"]) for row in rows_of(plan) if row["status"] == "done"]
    assert len(dict(done)) == len(done), "an item was made twice"
    return dict(done)


def run(plan: Plan, addresses: list[str], *, rehash: bool = False) -> Finished:
    """Run a plan on the servers at these addresses."""
    return batch.run(plan, partial(Local, addresses=addresses), rehash=rehash)


def to_toml(plan: Plan) -> str:
    """Write a plan as the file that `python . batch` reads."""
    tables: dict[str, Any] = {
        name: vars(getattr(plan, name)) for name in ("dataset", "mask", "quality", "servers")
    }
    tables |= {f"cohorts.{name}": vars(cohort) for name, cohort in plan.cohorts.items()}
    lines = []
    for name, keys in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"
