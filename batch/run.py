"""A run of a plan: what is left to do, on which servers, and the card at the end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ccm.dataset.folder import DatasetFolder
from ..ccm.errors import DataError, HostError
from .graph import read_workflow
from .hosts import Host, OwnHost, RemoteHost
from .items import Item, expand
from .making import Maker
from .masks import mask_source
from .plan import Plan
from .recorder import Progress, Recorder
from .scheduler import ItemPool, Scheduler, check_servers

HELPERS = 2  # threads that draw masks and measure frames


@dataclass(frozen=True)
class Finished:
    """How a run ended: frames of the data set, items left out in this run, and whether it was stopped."""

    frames: int
    left_out: int
    stopped: bool


def prepare(plan: Plan) -> Maker:
    """Read what a plan names: graph and masks; raises PlanError and DataError."""
    return Maker(plan, read_workflow(plan), mask_source(plan))


def items(maker: Maker) -> Iterator[Item]:
    """Yield all items of the plan."""
    return expand(maker.plan, maker.masks, maker.workflow.sha256)


def left(maker: Maker, done: dict[str, str]) -> Iterator[Item]:
    """Yield the items whose frame is not there. Raises DataError where another plan began the folder."""
    for item in items(maker):
        request = done.get(item.id)
        if request is None:
            yield item
        elif request != item.request:
            raise DataError(
                f"{maker.plan.folder} holds {item.id} by another plan, graph or mask",
                fix="name another folder, or take the plan that began it; only counts and cohorts may grow",
            )


@dataclass(frozen=True)
class Survey:
    """What there is of a plan: frames by cohort, and the first item that has none."""

    made: Counter[str]
    first: Item | None

    def text(self, plan: Plan) -> str:
        """Say it in a line."""
        return f"{plan.total} items in {plan.folder}, {self.made.total()} of them made before"


def look(maker: Maker, done: dict[str, str]) -> Survey:
    """Compare the plan with what is there; raises DataError where another plan began the folder."""
    waiting = Counter({name: cohort.count for name, cohort in maker.plan.cohorts.items()})
    first = None
    for item in left(maker, done):
        first = first or item
        waiting[item.place.cohort] -= 1
    return Survey(waiting, first)


def run(plan: Plan, addresses: list[str], *, rehash: bool = False) -> Finished:
    """Make what is left of a plan on these servers, without any on one of our own, and write the card.

    The first Ctrl-C lets what runs come to its end, the second does not. Raises CCMError, what is made being kept.
    """
    maker = prepare(plan)
    with ExitStack() as stack:
        folder = stack.enter_context(DatasetFolder(plan.folder))
        done = folder.done(rehash=rehash)
        survey = look(maker, done)
        print(survey.text(plan), flush=True)
        if survey.first is None:
            return finish(maker, folder, Finished(plan.total, 0, False))
        hosts = _hosts(addresses, stack)
        progress = Progress(plan, survey.made)
        helpers = stack.enter_context(ThreadPoolExecutor(HELPERS))
        told = asyncio.run(check_servers(maker, survey.first, hosts))
        check_models(folder, told)
        recorder = Recorder(folder, told, progress)
        stopped = asyncio.run(_make(Scheduler(maker, recorder, helpers), hosts, left(maker, done)))
        progress.close()
        return finish(maker, folder, Finished(sum(progress.done.values()), progress.left_out, stopped))


def finish(maker: Maker, folder: DatasetFolder, finished: Finished) -> Finished:
    """Write tables and card."""
    from .card import write_card

    folder.finish()
    write_card(maker, folder)
    return finished


def _hosts(addresses: list[str], stack: ExitStack) -> list[Host]:
    if addresses:
        hosts: list[Host] = [RemoteHost(address) for address in addresses]
        twice = [host.address for host in hosts if [h.address for h in hosts].count(host.address) > 1]
        if twice:
            raise HostError(f"{twice[0]} is named twice", fix="name every server once")
        return hosts
    print("Starting ComfyUI ...", flush=True)
    return [stack.enter_context(OwnHost())]


async def _make(scheduler: Scheduler, hosts: list[Host], waiting: Iterator[Item]) -> bool:
    """Make what waits; return whether Ctrl-C stopped it."""
    pool = ItemPool(waiting)
    work = asyncio.create_task(scheduler.run(hosts, pool))
    presses = _count_interrupts(pool, work)
    try:
        await work
    except asyncio.CancelledError:
        if not presses:
            raise
    return bool(presses)


def _count_interrupts(pool: ItemPool, work: asyncio.Task[None]) -> list[int]:
    """From now on, let the first Ctrl-C hand out no more items, and the second end the work; return the presses."""
    presses: list[int] = []

    def press() -> None:
        presses.append(1)
        pool.stop()
        if len(presses) == 1:
            print("\nFinishing what runs; Ctrl-C again to leave at once.", file=sys.stderr, flush=True)
        else:
            work.cancel()

    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, press)
    except NotImplementedError:  # Windows: Ctrl-C leaves at once
        pass
    return presses


def check_models(folder: DatasetFolder, told: dict[str, dict[str, Any]]) -> None:
    """Raise DataError unless all servers, and those of earlier runs, have the same model files."""
    known = {address: server["models"] for address, server in told.items() if "models" in server}
    for _, row in folder.manifest.rows():
        if "models" in row:
            known["the data set"] = row["models"]
            break
    for place, models in known.items():
        for other, others in known.items():
            differing = [name for name in models if name in others and models[name] != others[name]]
            if differing:
                raise DataError(
                    f"{', '.join(differing)}: {place} and {other} have different files of that name",
                    fix="give all servers the same files, or begin another folder",
                )


def dry_run(plan: Plan) -> str:
    """Say what a run would do, without a server."""
    maker = prepare(plan)
    survey = look(maker, DatasetFolder(plan.folder).done())
    lines = [survey.text(plan)]
    lines += [f"  {name}: {cohort.count} frames" for name, cohort in plan.cohorts.items()]
    lines += [
        f"  masks: {plan.mask.source} {plan.mask.path}".rstrip(),
        f"  graph: {_relative(plan.graph_file)}",
    ]
    if (first := survey.first) is not None:
        lines += [f"  next item: {first.id}, seed {first.seed_of(0)}"]
        lines += [f"    {slot} = {value}" for slot, value in first.values.items()]
        maker.masks.draw(first.mask)
    return "\n".join(lines)


def _relative(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
