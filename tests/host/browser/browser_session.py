"""A browser with ComfyUI's own page in it: opening templates, running them, and what can be seen then."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE_MS = 300_000  # for slow machines; nothing waits that long without a reason
RUN = """async () => {
    const ended = new Promise((done) => {
        app.api.addEventListener("execution_success", () => done(""), { once: true });
        app.api.addEventListener("execution_error", ({ detail }) => done(detail.exception_message), { once: true });
    });
    await app.queuePrompt(0, 1);
    const errors = app.lastNodeErrors ?? {}; // ComfyUI runs what is valid of a graph, and succeeds
    return Object.keys(errors).length ? "refused: " + JSON.stringify(errors) : await ended;
}"""
PICTURES = """() => app.graph._nodes.filter((node) => app.nodeOutputs[node.id]?.images?.length).map((node) => ({
    title: node.title, loaded: node.imgs?.length > 0 && node.imgs.every((image) => image.naturalWidth > 0)
}))"""
TEXTS = """() => app.graph._nodes.flatMap((node) => (node.widgets ?? []).filter((w) => w.name === "ccm_display")
    .map(({ element }) => ({
        title: node.title,
        text: element.innerText,
        rows: element.querySelectorAll("tbody tr").length,
        visible: element.isConnected && element.getBoundingClientRect().height > 20,
        style: ["color", "backgroundColor"].map((name) => getComputedStyle(element)[name]),
    })))"""

SEEN = f"""() => {{
    const texts = ({TEXTS})();
    return texts.length && texts.every(({{ visible, text }}) => visible && text.trim()) ? texts : null;
}}"""

# Rectangles of nodes, title included, and of groups: [title, x, y, width, height].
PLACES = """() => {
    const titled = ({ title, pos, size }) => [title, pos[0], pos[1] - 30, size[0], size[1] + 30];
    return [app.graph._nodes.map(titled), app.graph._groups.map(({ title, pos, size }) => [title, ...pos, ...size])];
}"""


def find_browser() -> str:
    """Return the path of a Chromium; without one the tests skip, or fail where CI demands it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        tell = pytest.fail if os.environ.get("CCM_BROWSER") == "required" else pytest.skip
        tell("no Chromium is installed; on Debian `apt install chromium` brings it")
    return str(found)


@contextmanager
def browser_in(profile: Path) -> Iterator[Any]:
    """A headless Chromium with a profile of its own."""
    executable = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=executable,
            headless=True,
            args=FLAGS,
            viewport={"width": 1600, "height": 1000},
        )
        context.set_default_timeout(PATIENCE_MS)
        yield context
        context.close()


def settings(page: Any, server: Any, **values: object) -> None:
    """Store settings of the page; they hold from the next opening on."""
    known: dict[str, object] = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.Persist": False}
    known |= {name.replace("__", "."): value for name, value in values.items()}
    page.request.post(f"{server.address}/api/settings", data=json.dumps(known))


def template(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))


def open_template(page: Any, server: Any, name: str) -> None:
    page.goto(f"{server.address}/?template={name}&source=ComfyUI-CCM", wait_until="domcontentloaded")
    wanted = sorted(node["type"] for node in template(name)["nodes"])
    page.wait_for_function(
        "(wanted) => window.app?.graph?._nodes?.map((node) => node.type).sort().join() === wanted.join()",
        arg=wanted,
    )


def set_widgets(page: Any, values: list[tuple[str, str, object]]) -> None:
    """Set widgets: title or type of the nodes, name of the widget, value."""
    page.evaluate(
        """(values) => {
            for (const [which, name, value] of values)
                for (const node of app.graph._nodes.filter((n) => n.title === which || n.type === which))
                    node.widgets.find((widget) => widget.name === name).value = value;
        }""",
        values,
    )


def misplaced(page: Any) -> list[str]:
    """What is wrong with the layout: nodes that overlap or lie in no group, groups that are not left to right."""
    nodes, groups = page.evaluate(PLACES)
    pairs = [(a, b) for i, a in enumerate(nodes) for b in nodes[:i] if _apart(a, b) < 0]
    alone = [node for node in nodes if not any(_within(node, group) for group in groups)]
    mixed = [(a, b) for a, b in zip(groups, groups[1:], strict=False) if a[1] + a[3] > b[1]]
    found = {"nodes overlap": pairs, "in no group": alone, "groups not left to right": mixed}
    return [f"{what}: {which}" for what, cases in found.items() for which in cases]


def _apart(a: list[Any], b: list[Any]) -> float:
    """The larger of the horizontal and the vertical gap of two rectangles; below 0 they overlap."""
    return max(max(a[1] - b[1] - b[3], b[1] - a[1] - a[3]), max(a[2] - b[2] - b[4], b[2] - a[2] - a[4]))


def _within(node: list[Any], group: list[Any]) -> bool:
    return all(group[i] <= node[i] and node[i] + node[i + 2] <= group[i] + group[i + 2] + 1 for i in (1, 2))


def complaints(page: Any) -> list[str]:
    """What the page warns of in corners and dialogs."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".p-toast-message, .p-dialog")].map((box) => box.innerText)"""
    )


def contrast(style: list[str]) -> float:
    """WCAG 2.1 contrast of text and ground, both given as rgb(r, g, b)."""
    light, dark = sorted((_luminance(colour) for colour in style), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    values = [float(x) / 255 for x in colour.strip("rgba()").split(",")[:3]]
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in values]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
