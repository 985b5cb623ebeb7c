"""How one item is made on one server: mask, graph, frame, judged, drawn again where it is not good enough.

Everything here depends on the item alone, so that any engine, on any machine, gives the same frame.
"""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from ..ccm.dataset.folder import Pictures
from ..ccm.dataset.manifest import FAILED, REJECTED, Row
from ..ccm.dataset.marks import SYNTHETIC, sha256, width_px
from ..ccm.images import FIELD_UM
from .graph import Workflow, meanings
from .items import Item
from .masks import MaskSource
from .plan import Plan
from .quality import judge
from .server import Connection

NAMESPACE = uuid.UUID("6b9f1f4e-27b5-4c3e-9a53-8a4c1f6f0c11")  # of prompt ids


HELPERS = 2  # threads of an engine that draw masks and measure frames


@dataclass(frozen=True)
class Maker:
    """What all items of a plan share."""

    plan: Plan
    workflow: Workflow
    masks: MaskSource


@dataclass(frozen=True)
class Outcome:
    """What became of an item: its pictures unless all draws were rejected or it failed, and the lines to write."""

    item: Item
    pictures: Pictures | None
    told: dict[str, Any]  # of the frame that is kept
    rows: list[Row] = field(default_factory=list)  # of what is not kept


async def make(maker: Maker, item: Item, turn: int, server: Connection, helpers: Executor) -> Outcome:
    """Make one item; `turn` counts earlier results of no use. Raises ItemFault, ServerFault, CCMError for a mask."""
    loop = asyncio.get_running_loop()
    has_mask = "mask" in maker.workflow.slots
    mask = await loop.run_in_executor(helpers, maker.masks.draw, item.mask) if has_mask else None
    rows: list[Row] = []
    for draw in range(maker.plan.quality.redraws + 1):
        seed = item.seed_of(draw)
        name = await server.upload(mask, sha256(mask)) if mask is not None else ""
        graph = maker.workflow.fill({**item.values, **meanings(item.place.cohort, seed, name)})
        prompt_id = str(uuid.uuid5(NAMESPACE, f"{item.request}/{draw}/{turn}"))
        frame, seconds = await server.run(graph, prompt_id, maker.workflow.output)
        verdict = await loop.run_in_executor(helpers, judge, maker.plan.quality, frame, mask)
        told = _told(item, maker, draw, seed) | verdict.told
        told |= {
            "seconds": seconds,
            "server": server.address,
            "um_per_px": round(FIELD_UM / width_px(frame), 6),
        }
        if not verdict.reasons:
            return Outcome(item, Pictures(frame, mask), told, rows)
        limits = maker.plan.quality.limits
        rows.append({**head(item, REJECTED), **told, "limits": limits, "error": "; ".join(verdict.reasons)})
    return Outcome(item, None, {}, rows)


def failed(item: Item, error: str) -> Outcome:
    """The outcome of an item that cannot be made."""
    return Outcome(item, None, {}, [{**head(item, FAILED), "error": error}])


def head(item: Item, status: str) -> Row:
    """The beginning of a line for an item whose frame is not kept."""
    place = item.place
    known = {"cohort": place.cohort, "patient": place.patient, "eye": place.eye}
    return {"item": item.id, "status": status, **SYNTHETIC, **known, "request": item.request}


def _told(item: Item, maker: Maker, draw: int, seed: int) -> dict[str, Any]:
    return {
        "request": item.request,
        "graph_sha256": maker.workflow.sha256,
        "seed": seed,
        "draw": draw,
        "split": item.split,
        "values": item.values,
        "mask_made": item.mask,
    }
