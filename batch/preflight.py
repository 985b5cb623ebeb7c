"""What a server lacks for a graph, found out before the first item: nodes, inputs, and choices such as model files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..ccm.documented import nearest
from ..ccm.errors import GraphError
from .client import Graph

UPLOADED = "image_upload"  # an input that takes files which are uploaded later


def check_graph(graph: Graph, known: Mapping[str, Any], address: str) -> None:
    """Raise GraphError that names everything that the server's /object_info lacks for the graph."""
    problems = [problem for node in graph for problem in _problems(graph, node, known)]
    if problems:
        raise GraphError(
            f"{address} cannot run the graph: " + "; ".join(problems),
            fix="install the missing nodes and model files there, or correct the plan, and start again",
        )


def _problems(graph: Graph, node: str, known: Mapping[str, Any]) -> Iterator[str]:
    data = graph[node]
    kind = data["class_type"]
    name = f"{data.get('_meta', {}).get('title', kind)} ({kind})"
    if kind not in known:
        yield f"there is no node {kind}{nearest(kind, known)}"
        return
    inputs = known[kind].get("input", {})
    wanted = {**inputs.get("required", {}), **inputs.get("optional", {})}
    for child in inputs.get("required", {}):
        if child not in data["inputs"]:
            yield f"{name} lacks its input {child}"
    for child, value in data["inputs"].items():
        options = _options(wanted.get(child))
        if options is not None and not isinstance(value, list) and value not in options:
            yield f"{name} has {child} {value!r}, which is not there{nearest(value, options)}"


def _options(spec: Any) -> list[Any] | None:
    """The choices of an input, None where any value goes or files are uploaded for it."""
    if not isinstance(spec, list) or not spec:
        return None
    told = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    if told.get(UPLOADED):
        return None
    return spec[0] if isinstance(spec[0], list) else told.get("options")
