"""The texts of the nodes as ComfyUI's locale files, for translators to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PREFIX = "CCM_"


def write(nodes: dict[str, Any], folder: Path) -> list[Path]:
    """Write nodeDefs.json and main.json from the host's object_info."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in (("nodeDefs", node_texts(nodes)), ("main", category_texts(nodes))):
        written.append(folder / f"{name}.json")
        written[-1].write_text(dump(content), "utf-8")
    return written


def dump(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def node_texts(nodes: dict[str, Any]) -> dict[str, Any]:
    """Display name, description, and name and tooltip of every input and output of our nodes."""
    return {name: _node(info) for name, info in sorted(_ours(nodes).items())}


def category_texts(nodes: dict[str, Any]) -> dict[str, Any]:
    """The branches of the node tree."""
    branches = {branch for info in _ours(nodes).values() for branch in info["category"].split("/")}
    return {"nodeCategories": {branch: branch for branch in sorted(branches)}}


def _ours(nodes: dict[str, Any]) -> dict[str, Any]:
    return {name: info for name, info in nodes.items() if name.startswith(PREFIX)}


def _node(info: dict[str, Any]) -> dict[str, Any]:
    inputs = {
        name: {"name": options.get("display_name") or name, "tooltip": options["tooltip"]}
        for kind in ("required", "optional")
        for name, (_, options) in info["input"].get(kind, {}).items()
    }
    outputs = {
        str(number): {"name": name, "tooltip": tooltip}
        for number, (name, tooltip) in enumerate(
            zip(info["output_name"], info["output_tooltips"], strict=True)
        )
    }
    texts = {"display_name": info["display_name"], "description": info["description"]}
    return texts | {"inputs": inputs, "outputs": outputs}
