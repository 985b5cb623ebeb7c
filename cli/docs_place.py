"""Where a node stands: the node of a template with its neighbours and the wires between them, as one picture."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..ccm.plots.canvas import INK, Canvas, Colour
from ..host.paths import ROOT

BOX, BETWEEN = 196, 34  # widths of a node, and of the room for wires beside it
TITLE, SLOT, GAP, MARGIN, EDGE = 28, 20, 14, 8, 2
HEADS: dict[str, Colour] = {  # by stage, as web/ccm_display.js colours the titles
    "mask": (35, 80, 47),
    "generate": (31, 74, 107),
    "measure": (105, 69, 18),
    "evaluate": (77, 59, 107),
    "": (90, 90, 90),
}
BODY: Colour = (240, 240, 240)
WIRE: Colour = (150, 150, 150)
WHITE: Colour = (255, 255, 255)
OF_THE_PAGE = {"display_name": "Primitive", "category": ""}  # nodes that the server does not know
CURVE = np.linspace(0.0, 1.0, 24)


class Wire(NamedTuple):
    """From an output of one node to an input of another."""

    source: int
    output: str
    target: int
    input: str


@dataclass(frozen=True)
class Box:
    """A node of the picture: its corner, and the names of the slots that are shown."""

    node: dict[str, Any]
    x: float
    y: float
    inputs: list[str]
    outputs: list[str]

    @property
    def height(self) -> int:
        return TITLE + SLOT * max(len(self.inputs), len(self.outputs)) + 8

    def row(self, number: int) -> float:
        """The height of a slot."""
        return self.y + TITLE + 4 + SLOT * (number + 0.5)


def place(node_id: str, template: str, known: dict[str, Any]) -> np.ndarray:
    """The node between its neighbours in a template, [H,W,3] in 0..1.

    `known` is what ComfyUI answers to /object_info: names and categories of all nodes.
    """
    graph = json.loads((ROOT / "workflows" / f"{template}.json").read_text("utf-8"))
    nodes = {node["id"]: node for node in graph["nodes"]}
    middle = next(number for number, node in nodes.items() if node["type"] == node_id)
    wires = [
        Wire(a, nodes[a]["outputs"][i]["name"], b, nodes[b]["inputs"][j]["name"])
        for _, a, i, b, j, _ in graph["links"]
        if middle in (a, b)
    ]
    boxes = _laid_out(middle, nodes, wires)
    wide, tall = (
        max(ends) for ends in zip(*((b.x + BOX, b.y + b.height) for b in boxes.values()), strict=True)
    )
    canvas = Canvas(round(wide) + MARGIN, round(tall) + MARGIN)
    _frame(canvas, boxes[middle])
    for wire in wires:
        _draw_wire(canvas, boxes[wire.source], boxes[wire.target], wire)
    for box in boxes.values():
        _draw_box(canvas, box, known.get(box.node["type"], OF_THE_PAGE))
    return canvas.array()


def _laid_out(middle: int, nodes: dict[int, dict[str, Any]], wires: list[Wire]) -> dict[int, Box]:
    """Boxes by node in three columns, each column in the middle of the picture's height."""
    before = dict.fromkeys(wire.source for wire in wires if wire.target == middle)
    after = dict.fromkeys(wire.target for wire in wires if wire.source == middle)
    columns: list[list[Box]] = []
    for ids in filter(None, (before, (middle,), after)):
        x = MARGIN + (BOX + BETWEEN) * len(columns)
        inputs = {one: list(dict.fromkeys(w.input for w in wires if w.target == one)) for one in ids}
        outputs = {one: list(dict.fromkeys(w.output for w in wires if w.source == one)) for one in ids}
        columns.append([Box(nodes[one], x, 0.0, inputs[one], outputs[one]) for one in ids])
    heights = [sum(box.height + GAP for box in column) - GAP for column in columns]
    boxes: dict[int, Box] = {}
    for column, height in zip(columns, heights, strict=True):
        y = MARGIN + (max(heights) - height) / 2
        for box in column:
            boxes[box.node["id"]] = replace(box, y=y)
            y += box.height + GAP
    return boxes


def _frame(canvas: Canvas, box: Box) -> None:
    """A dark edge around the node that the picture is about."""
    canvas.box((box.x - EDGE, box.y - EDGE), (box.x + BOX + EDGE, box.y + box.height + EDGE), INK)


def _draw_wire(canvas: Canvas, source: Box, target: Box, wire: Wire) -> None:
    a = source.x + BOX, source.row(source.outputs.index(wire.output))
    b = target.x, target.row(target.inputs.index(wire.input))
    curve = [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t * t * (3.0 - 2.0 * t)) for t in CURVE]
    canvas.line(curve, WIRE, 2.0)


def _draw_box(canvas: Canvas, box: Box, info: dict[str, Any]) -> None:
    ours, _, stage = info["category"].partition("/")
    canvas.box((box.x, box.y), (box.x + BOX, box.y + box.height), BODY)
    canvas.box((box.x, box.y), (box.x + BOX, box.y + TITLE), HEADS[stage if ours == "CCM" else ""])
    title = box.node.get("title") or info["display_name"] or box.node["type"]
    canvas.text((box.x + 8, box.y + TITLE / 2), title, colour=WHITE, size_px=12)
    for x, anchor, names in ((box.x, "lm", box.inputs), (box.x + BOX, "rm", box.outputs)):
        for number, name in enumerate(names):
            canvas.dot((x, box.row(number)), WIRE, 4.0)
            canvas.text((x + (9 if anchor == "lm" else -9), box.row(number)), name, anchor, INK, 12)
