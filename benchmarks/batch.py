"""What a batch loses, doubles or changes when its server and its client are killed, and what the client itself costs.

A plan runs through once undisturbed. It runs again into another folder, its ComfyUI SIGKILLed and started again, and
`python . batch` likewise, at random moments, until everything is made.

lost: items without a file that is what the manifest says. duplicated: lines of a finished frame and pictures beyond
one for each item. mismatched: frames that differ from the undisturbed run. client_overhead: share of the time
in which the server had no frame to work on, over frames of full size and 20 steps. With --two-hosts also speedup: of
two ComfyUIs of one thread each over one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..batch import run as batch
from ..batch.engines.local import Local
from ..batch.hosts import OwnHost
from ..batch.plan import Plan, parse_plan
from ..ccm.dataset.folder import DatasetFolder
from ..ccm.dataset.manifest import DONE, Manifest
from ..ccm.errors import HostError
from ..host.environment import INSIDE
from ..host.paths import OUTPUT, ROOT

FOLDER = OUTPUT / "bench" / "batch"
COHORTS = ("Control", "T1NoDPN", "T1DPN")
LOOK_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    """Measure, and print all figures as JSON on the last line; the exit status is 1 if a frame was lost or changed."""
    options = parse(arguments)
    if not options.resume:
        shutil.rmtree(FOLDER, ignore_errors=True)
    figures: dict[str, Any] = {"items": options.items, "size_px": options.size, "steps": options.steps}
    small = (options.items, options.size, options.steps)
    undisturbed, disturbed = plan("undisturbed", *small), plan("disturbed", *small)
    with kept_host("a") as host:
        batch.run(undisturbed, partial(Local, addresses=[host.address]))
        figures |= campaign(options, host, disturbed)
        figures |= compare(undisturbed, disturbed)
        if options.overhead_items:
            figures["client_overhead"] = overhead(options, host)
    if options.two_hosts:
        figures["speedup"] = speedup(options)
    print(json.dumps(figures))
    return 1 if figures["lost"] or figures["duplicated"] or figures["mismatched"] else 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python . bench batch", description="kill server and client of a batch, and compare every frame"
    )
    parser.add_argument("--items", type=int, default=300, help="of the run that is killed (default: 300)")
    parser.add_argument("--kills", type=int, default=10, help="of the server and of the client (default: 10)")
    parser.add_argument("--size", type=int, default=96, help="pixels of a side (default: 96)")
    parser.add_argument("--steps", type=int, default=2, help="of the sampler (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default: 0)")
    parser.add_argument("--overhead-items", type=int, default=12, help="frames of full size (default: 12)")
    parser.add_argument("--resume", action="store_true", help="go on with a bench that was stopped")
    parser.add_argument("--two-hosts", action="store_true", help="measure two servers against one, too")
    return parser.parse_args(arguments)


@dataclass
class KeptHost:
    """A ComfyUI that is started again whenever it dies."""

    own: OwnHost
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return self.own.address

    def kill(self) -> None:
        """SIGKILL the server and everything that it started."""
        while True:
            try:
                return os.killpg(self.own.pid, signal.SIGKILL)
            except ProcessLookupError:  # it is being started
                time.sleep(LOOK_SECONDS)

    def keep(self) -> None:
        while not self.over.wait(LOOK_SECONDS):
            self.own.worked()
            self.own.revive()


@contextmanager
def kept_host(name: str) -> Iterator[KeptHost]:
    """Run a ComfyUI in a folder of its own, and start it again when it dies, while the block lasts."""
    with OwnHost(FOLDER / f"host-{name}") as own:
        host = KeptHost(own)
        keeper = threading.Thread(target=host.keep)
        keeper.start()
        try:
            yield host
        finally:
            host.over.set()
            keeper.join()


def plan(name: str, items: int, size: int, steps: int, seed: int = 11) -> Plan:
    """A plan of three cohorts that is not measured."""
    folder = FOLDER / name
    counts = {cohort: {"count": items // 3 + (n < items % 3)} for n, cohort in enumerate(COHORTS)}
    tables = {
        "dataset": {"name": "bench", "folder": str(folder), "seed": seed, "size_px": size},
        "cohorts": {cohort: count for cohort, count in counts.items() if count["count"]},
        "settings": {"steps": steps, "guidance": 1.5, "control_strength": [0.8, 1.0]},
        "quality": {"measure": False},
        "servers": {"stall_s": 60.0, "answer_s": 20.0, "patience_s": 300.0},
    }
    folder.mkdir(parents=True, exist_ok=True)
    made = parse_plan(tables, folder / "plan.toml")
    (folder / "plan.toml").write_text(to_toml(tables), "utf-8")
    return made


def to_toml(tables: dict[str, Any]) -> str:
    lines = []
    for name, table in tables.items():
        nested = {key: value for key, value in table.items() if isinstance(value, dict)}
        lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items() if k not in nested)]
        for key, values in nested.items():
            lines += [f"[{name}.{key}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
    return "\n".join(lines) + "\n"


def overhead(options: Namespace, host: KeptHost) -> float:
    """Share of the time without a frame in work, after a first frame that loads the models."""
    engage = partial(Local, addresses=[host.address])
    for seed, (name, items) in enumerate((("warm", 1), ("overhead", options.overhead_items))):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        finished = batch.run(
            plan(name, items, 384, 20, seed), engage
        )  # a frame of the same seed would be found again
    assert finished.busy is not None
    return round(1.0 - finished.busy, 4)


def campaign(options: Namespace, host: KeptHost, what: Plan) -> dict[str, int]:
    """Make a plan under kills; return how many there were of each kind, those before a stop of the bench included."""
    rng = random.Random(options.seed)
    count_file = FOLDER / "kills.json"
    killed = Counter(json.loads(count_file.read_text()) if count_file.is_file() else {})
    kinds = list((Counter(host=options.kills, client=options.kills) - killed).elements())
    rng.shuffle(kinds)
    moments = sorted(rng.uniform(made(what) + 1, options.items - 2) for _ in kinds)
    with Client(what, host.address) as client:
        for moment, kind in zip(moments, kinds, strict=True):
            while made(what) < moment:
                client.check()
                time.sleep(LOOK_SECONDS / 4)
            time.sleep(rng.uniform(0.0, 0.5))
            host.kill() if kind == "host" else client.kill()
            killed[kind] += 1
            count_file.write_text(json.dumps(killed))
            print(f"  {made(what):4} items: {kind} killed", flush=True)
        client.finish()
    return {f"{kind}_kills": count for kind, count in killed.items()}


class Client:
    """`python . batch` on a plan, started again after it was killed; gone after the `with` block."""

    def __init__(self, what: Plan, address: str) -> None:
        self._command = [sys.executable, str(ROOT), "batch", str(what.path), "--server", address]

    def __enter__(self) -> Client:
        environ = {**os.environ, INSIDE: sys.executable}
        self._process = subprocess.Popen(self._command, env=environ, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """SIGKILL it and start another."""
        self.__exit__()
        self.__enter__()

    def check(self) -> None:
        """Raise HostError where it ended before everything was made."""
        if self._process.poll() is not None:
            raise HostError(f"The client ended with {self._process.poll()}", fix="read its output above")

    def finish(self) -> None:
        """Wait for it; raises HostError unless it made everything."""
        if self._process.wait() != 0:
            self.check()


def made(what: Plan) -> int:
    return len(done_rows(what))


def done_rows(what: Plan) -> list[dict[str, Any]]:
    return [row for _, row in Manifest(what.folder / "manifest.jsonl").rows() if row["status"] == DONE]


def compare(undisturbed: Plan, disturbed: Plan) -> dict[str, int]:
    """Lost, doubled and changed items; every file is read and compared with its hash."""
    whole = DatasetFolder(disturbed.folder).done(rehash=True)
    rows = done_rows(disturbed)
    pictures = list((disturbed.folder / "frames").rglob("*.png"))
    before, after = ({row["item"]: row["sha256"] for row in done_rows(p)} for p in (undisturbed, disturbed))
    return {
        "lost": sum(item.id not in whole for item in batch.items(batch.prepare(disturbed))),
        "duplicated": len(rows) - len(after) + len(pictures) - len(after),
        "mismatched": sum(before[item] != digest for item, digest in after.items()),
        "verified": len(whole),
    }


def speedup(options: Namespace) -> float:
    """How much sooner two servers are done than one; each computes with one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    seconds = []
    for count in (1, 2):
        with ExitStack() as stack:
            hosts = [stack.enter_context(kept_host(f"{count}{n}")) for n in range(count)]
            for host in hosts:
                shutil.rmtree(FOLDER / "warm", ignore_errors=True)
                batch.run(plan("warm", 1, 384, 20, seed=0), partial(Local, addresses=[host.address]))
            began = time.monotonic()
            addresses = [host.address for host in hosts]
            batch.run(plan("two", options.overhead_items, 384, 20), partial(Local, addresses=addresses))
            seconds.append(time.monotonic() - began)
            shutil.rmtree(FOLDER / "two")
    return round(seconds[0] / seconds[1], 2)
