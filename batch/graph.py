"""A graph in ComfyUI's API format, and its slots: the inputs that differ from item to item, by name.

A slot leads to "Node title.input" or "node id.input". Four have a meaning: `seed`, `mask`, `frame` (the output
node that saves the frame) and `cohort`, or `prompt` for a graph that takes the clinical prompt as text.

A graph that was tried out in the browser serves as it is: where the slot `mask` leads to an input that is linked, a
node that loads the mask takes the place of what made it there, and nodes that the frame does not need are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ccm.cohorts import clinical_prompt, parse_cohort
from ..ccm.documented import nearest
from ..ccm.errors import PlanError
from .client import Graph
from .plan import DEFAULT_GRAPH, Plan, Value

DEFAULT_SLOTS: dict[str, tuple[str, ...]] = {
    "frame": ("Frame",),
    "mask": ("Nerve mask.image",),
    "seed": ("Sampler.seed",),
    "cohort": ("Prompt.cohort",),
    "modifiers": ("Prompt.modifiers",),
    "size": ("Latent.width", "Latent.height"),
    "steps": ("Sampler.steps",),
    "guidance": ("Sampler.cfg",),
    "sampler": ("Sampler.sampler_name",),
    "scheduler": ("Sampler.scheduler",),
    "adapter": ("Adapter.adapter",),
    "adapter_strength": ("Adapter.strength",),
    "control_strength": ("Control.strength",),
    "control_end": ("Control.end",),
}
FILLED = ("seed", "mask", "cohort", "prompt", "size")  # by the batch, where the graph has them
NEEDED = ("frame", "seed")
LOADER = "ccm_mask"  # id of the node that is put in where the slot mask leads to a link


@dataclass(frozen=True)
class Workflow:
    """A graph, where its slots lead, and the node that saves the frame."""

    graph: Graph
    slots: Mapping[str, tuple[tuple[str, str], ...]]  # slot -> (node, input)
    output: str

    @property
    def sha256(self) -> str:
        """What the graph is, and where its slots lead."""
        told = [self.graph, {name: list(places) for name, places in self.slots.items()}, self.output]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def fill(self, values: Mapping[str, Value]) -> Graph:
        """Return the graph with the values in their slots; those without a slot are left out."""
        graph: Graph = json.loads(json.dumps(self.graph))
        for name, value in values.items():
            for node, child in self.slots.get(name, ()):
                graph[node]["inputs"][child] = value
        return graph


def read_workflow(plan: Plan) -> Workflow:
    """Read the graph of a plan and find its slots; raises PlanError for a slot or setting that leads nowhere."""
    file = plan.graph_file
    graph = _read(file)
    named = (DEFAULT_SLOTS if file == DEFAULT_GRAPH else {}) | dict(plan.graph.slots)
    for name in NEEDED:
        if name not in named:
            raise PlanError(
                f"{plan.path} has no slot {name}", fix=f'add {name} = "Node.input" to [graph.slots]'
            )
    slots = {
        name: tuple(_place(graph, entry, file, name) for entry in entries)
        for name, entries in named.items()
        if name != "frame"
    }
    free = [slot for slot in slots if slot not in FILLED]
    for name in plan.settings:
        if name in FILLED:
            raise PlanError(
                f"{plan.path}: settings.{name} is set by the batch", fix="remove it; see docs/batch.md"
            )
        if name not in slots:
            raise PlanError(
                f"{plan.path}: settings.{name} has no slot{nearest(name, free)}",
                fix=f"add it to [graph.slots]; there are {', '.join(free)}",
            )
    output = _node(graph, named["frame"][0], file, "frame")
    if any(_is_link(graph[node]["inputs"][child]) for node, child in slots.get("mask", ())):
        slots["mask"] = _put_loader(graph, slots["mask"])
    needed = _needed(graph, output)
    _check_needed(slots, needed)
    return Workflow({node: data for node, data in graph.items() if node in needed}, slots, output)


def meanings(cohort: str, seed: int, mask: str) -> dict[str, Value]:
    """Return the values of the slots that have a meaning."""
    return {"seed": seed, "mask": mask, "cohort": cohort, "prompt": clinical_prompt(parse_cohort(cohort))}


def _read(file: Path) -> Graph:
    try:
        graph = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise PlanError(f"{file} cannot be read ({error.strerror})", fix="correct graph.file") from error
    except ValueError as error:
        raise PlanError(f"{file} is no JSON ({error})", fix="export the graph again") from error
    if isinstance(graph, dict) and "nodes" in graph and "links" in graph:
        raise PlanError(
            f"{file} is a graph for the browser",
            fix="in ComfyUI, use Workflow > Export (API) and name that file",
        )
    if not (isinstance(graph, dict) and graph and all(_is_node(node) for node in graph.values())):
        raise PlanError(f"{file} is no graph in ComfyUI's API format", fix="use Workflow > Export (API)")
    return graph


def _put_loader(graph: Graph, places: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Put a node that loads the mask before these inputs, and return where the slot leads then."""
    title = {"title": "Mask of the item"}
    graph[LOADER] = {"class_type": "LoadImageMask", "inputs": {"image": "", "channel": "red"}, "_meta": title}
    for node, child in places:
        graph[node]["inputs"][child] = [LOADER, 0]
    return ((LOADER, "image"),)


def _needed(graph: Graph, output: str) -> set[str]:
    """The nodes that the output depends on, itself included."""
    found: set[str] = set()
    ahead = [output]
    while ahead:
        node = ahead.pop()
        if node in graph and node not in found:
            found.add(node)
            ahead += [value[0] for value in graph[node]["inputs"].values() if _is_link(value)]
    return found


def _check_needed(slots: Mapping[str, tuple[tuple[str, str], ...]], needed: set[str]) -> None:
    for name, places in slots.items():
        for node, child in places:
            if node not in needed:
                raise PlanError(
                    f"The slot {name} leads to {child!r} of node {node}, which the frame does not depend on",
                    fix="choose a node from which lines lead to the node of the slot frame",
                )


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and "class_type" in node and isinstance(node.get("inputs"), dict)


def _place(graph: Graph, entry: str, file: Path, slot: str) -> tuple[str, str]:
    title, dot, child = entry.rpartition(".")
    if not dot:
        raise PlanError(f"The slot {slot} is {entry!r}", fix='write it as "Node title.input"')
    node = _node(graph, title, file, slot)
    inputs = graph[node]["inputs"]
    if child not in inputs:
        raise PlanError(
            f"The slot {slot} leads to {entry!r}, but that node of {file} has no input "
            f"{child!r}{nearest(child, inputs)}",
            fix=f"use one of {', '.join(inputs)}",
        )
    return node, child


def _node(graph: Graph, name: str, file: Path, slot: str) -> str:
    """Return the id of the node of that title or id."""
    titles = {node: data.get("_meta", {}).get("title", data["class_type"]) for node, data in graph.items()}
    found = [node for node, title in titles.items() if title == name] or [
        node for node in graph if node == name
    ]
    if len(found) != 1:
        problem = "several nodes" if found else f"no node{nearest(name, titles.values())}"
        raise PlanError(
            f"The slot {slot} leads to {name!r}, and {file} has {problem} of that title",
            fix="name the node by its id, or give it a title of its own",
        )
    return found[0]
