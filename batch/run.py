"""A run of a plan: what is left to do, on which servers, and the card at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..ccm.dataset.folder import DatasetFolder
from ..ccm.dataset.manifest import DONE, REJECTED
from ..ccm.errors import DataError
from .card import CARD, write_card
from .graph import read_workflow
from .items import Item, expand
from .making import Maker, Outcome
from .masks import mask_source
from .plan import Plan
from .recorder import Progress, Recorder


@dataclass(frozen=True)
class Finished:
    """How a run ended: frames of the data set, items left out, and whether it was stopped.

    busy is the share of the time that the servers worked on frames, 1 for all of them always; None if nothing was made.
    """

    frames: int
    left_out: int
    stopped: bool
    busy: float | None = None


def prepare(plan: Plan) -> Maker:
    """Read what a plan names: graph and masks; raises PlanError and DataError."""
    return Maker(plan, read_workflow(plan), mask_source(plan))


def items(maker: Maker) -> Iterator[Item]:
    """Yield all items of the plan."""
    return expand(maker.plan, maker.masks, maker.workflow.sha256)


def over(maker: Maker, folder: DatasetFolder, *, rehash: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Return the requests, by item, of what has a frame, and of what is hopeless: all its draws were rejected by an
    earlier run, by the same limits."""
    done: dict[str, str] = {}
    draws: Counter[tuple[str, str]] = Counter()
    for _, row in folder.manifest.rows():
        if row["status"] == DONE and folder.holds(row, rehash):
            done[row["item"]] = row["request"]
        elif row["status"] == REJECTED and row["limits"] == maker.plan.quality.limits:
            draws[row["item"], row["request"]] = max(draws[row["item"], row["request"]], row["draw"] + 1)
    most = maker.plan.quality.redraws
    return done, {item: request for (item, request), n in draws.items() if n > most and item not in done}


def left(maker: Maker, finished: dict[str, str]) -> Iterator[Item]:
    """Yield the items that are not over, which have a frame or are hopeless. Raises DataError where another plan
    began the folder."""
    for item in items(maker):
        request = finished.get(item.id)
        if request is None:
            yield item
        elif request != item.request:
            raise DataError(
                f"{maker.plan.folder} holds {item.id} by another plan, graph or mask",
                fix="name another folder, or take the plan that began it; only counts and cohorts may grow",
            )


@dataclass(frozen=True)
class Survey:
    """What there is of a plan: items that are over, frames by cohort, hopeless items, and the first one that waits."""

    over: dict[str, str]
    made: Counter[str]
    hopeless: int
    first: Item | None

    def text(self, plan: Plan) -> str:
        """Say it in a line."""
        rejected = f", {self.hopeless} left out" if self.hopeless else ""
        return f"{plan.total} items in {plan.folder}, {self.made.total()} of them made before{rejected}"


def look(maker: Maker, folder: DatasetFolder, *, rehash: bool = False) -> Survey:
    """Compare the plan with what is there; raises DataError where another plan began the folder."""
    done, hopeless = over(maker, folder, rehash=rehash)
    finished = {**hopeless, **done}
    made = Counter({name: cohort.count for name, cohort in maker.plan.cohorts.items()})
    first = None
    for item in left(maker, finished):
        first = first or item
        made[item.place.cohort] -= 1
    for item in items(maker) if hopeless else ():
        made[item.place.cohort] -= item.id in hopeless
    return Survey(finished, made, len(hopeless), first)


class Engine(Protocol):
    """Servers that can make items."""

    def check(self, item: Item) -> dict[str, dict[str, Any]]:
        """Check the graph of an item on every server; return what each is, by its name. Raises CCMError."""
        ...

    def make(self, waiting: Iterator[Item], record: Callable[[Outcome], None]) -> bool:
        """Make what waits and record every outcome; return whether Ctrl-C stopped it. Raises CCMError."""
        ...


Engage = Callable[[Maker], AbstractContextManager[Engine]]


def run(plan: Plan, engage: Engage, *, rehash: bool = False) -> Finished:
    """Make what is left of a plan on the servers of an engine, and write the card.

    The first Ctrl-C lets what runs come to its end, the second does not. Raises CCMError, what is made being kept.
    """
    maker = prepare(plan)
    with DatasetFolder(plan.folder) as folder:
        survey = look(maker, folder, rehash=rehash)
        print(survey.text(plan), flush=True)
        if survey.first is None:
            finished = Finished(survey.made.total(), survey.hopeless, False)
            return finished if is_current(folder) else finish(maker, folder, finished)
        progress = Progress(plan, survey.made, survey.hopeless)
        with engage(maker) as engine:
            told = engine.check(survey.first)
            check_models(folder, told)
            progress.begin()
            stopped = engine.make(left(maker, survey.over), Recorder(folder, told, progress))
            busy = progress.worked_s / (progress.elapsed_s * len(told))
        progress.close()
        frames = sum(progress.done.values())
        return finish(maker, folder, Finished(frames, progress.left_out, stopped, busy))


def is_current(folder: DatasetFolder) -> bool:
    """Whether the card, which is written last, is younger than the manifest."""
    card = folder.root / CARD
    return card.is_file() and card.stat().st_mtime_ns >= folder.manifest.path.stat().st_mtime_ns


def finish(maker: Maker, folder: DatasetFolder, finished: Finished) -> Finished:
    """Write tables and card."""
    folder.finish()
    write_card(maker, folder)
    return finished


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
    survey = look(maker, DatasetFolder(plan.folder))
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
