"""`python . batch PLAN.toml`: a data set through the ComfyUI API, unattended; the same command goes on with it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import logs
from .command import Command
from .writable import check_folder

if TYPE_CHECKING:
    from ..batch.run import Engage


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("plan", type=Path, help="a TOML file; workflows/plans holds an example")
    parser.add_argument("--out", type=Path, help="folder of the data set (default: that of the plan)")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="URL",
        help="a ComfyUI that runs already, as http://host:8188; repeat it for several (default: one of our own)",
    )
    parser.add_argument(
        "--engine", choices=["local", "ray"], default="local", help="what spreads the work (default: local)"
    )
    parser.add_argument("--address", help="of a Ray cluster (default: this machine)")
    parser.add_argument("--workers", type=int, help="with Ray: how many ComfyUIs (default: one for each GPU)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="another value for one key"
    )
    parser.add_argument("--dry-run", action="store_true", help="check the plan and say what would be done")
    parser.add_argument("--verify", action="store_true", help="read every file again, and redo damaged ones")
    parser.epilog = "docs/batch.md explains the plan, the data set and the API. Ctrl-C finishes what runs."


def run(options: Namespace) -> int:
    from ..batch import run as batch
    from ..batch.plan import read_plan

    plan = read_plan(options.plan, tuple(options.set))
    if options.out:
        plan = replace(plan, dataset=replace(plan.dataset, folder=str(options.out)))
    if options.dry_run:
        print(batch.dry_run(plan))
        return 0
    check_folder(plan.folder, fix="choose another folder with --out")
    logs.show()
    finished = batch.run(plan, _engine(options), rehash=options.verify)
    print(f"{finished.frames} of {plan.total} frames, {finished.left_out} left out: {plan.folder}")
    if finished.busy is not None:
        print(f"The servers worked {finished.busy:.1%} of the time.")
    print(f"Card: {plan.folder / 'README.md'}\nSynthetic, not for clinical use.")
    if finished.stopped:
        print("Stopped. The same command goes on where it left off.", file=sys.stderr)
        return 130
    return 0 if finished.frames == plan.total else 1


def _engine(options: Namespace) -> Engage:
    local = options.engine == "local"
    if (options.address or options.workers) if local else options.server:
        from ..ccm.errors import HostError

        raise HostError(
            "--server is for the engine local, --address and --workers are for the engine ray",
            fix="leave out those of the other engine",
        )
    if not local:
        from ..batch.engines.ray_cluster import Cluster

        return partial(Cluster, address=options.address, workers=options.workers)
    from ..batch.engines.local import Local

    return partial(Local, addresses=options.server)


COMMAND = Command("batch", "make a data set by a plan, through the ComfyUI API", arguments, run, "host")
