"""The pack in a real browser: ComfyUI's own page loads it, opens its templates, and misses no node."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE_MS = 300_000  # for slow machines; nothing waits that long without a reason


def find_browser() -> str:
    """Return the path of a Chromium; without one the tests skip, or fail where CI demands it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        tell = pytest.fail if os.environ.get("CCM_BROWSER") == "required" else pytest.skip
        tell("no Chromium is installed; on Debian `apt install chromium` brings it")
    return str(found)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    executable = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=executable,
            headless=True,
            args=FLAGS,
            viewport={"width": 1600, "height": 1000},
        )
        context.set_default_timeout(PATIENCE_MS)
        yield context
        context.close()


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """A page with ComfyUI loaded and ready; errors of the page's scripts fail the test."""
    opened = browser.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(server.address, wait_until="domcontentloaded")
    opened.wait_for_function("() => window.app?.graph && window.LiteGraph")
    opened.wait_for_function("() => window.LiteGraph.registered_node_types['CCM_LoadNano']")
    yield opened
    opened.close()
    assert errors == []


def test_every_node_can_be_placed_on_the_canvas(page: Any) -> None:
    names = page.evaluate(
        """() => Object.keys(LiteGraph.registered_node_types).filter(n => n.startsWith("CCM_")).map(name => {
            const node = LiteGraph.createNode(name);
            app.graph.add(node);
            return node.title;
        })"""
    )
    assert len(names) >= 9
    assert page.evaluate("() => app.graph._nodes.filter(n => n.has_errors).length") == 0


def open_template(page: Any, server: Any, name: str) -> None:
    url = f"{server.address}/?template={name}&source=ComfyUI-CCM"
    page.goto(url, wait_until="domcontentloaded")
    wanted = len(json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))["nodes"])
    page.wait_for_function(f"() => window.app?.graph?._nodes?.length === {wanted}")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_opens_without_a_missing_node(page: Any, server: Any, name: str) -> None:
    open_template(page, server, name)
    missing = page.evaluate(
        "() => app.graph._nodes.filter(n => !LiteGraph.registered_node_types[n.type]).map(n => n.type)"
    )
    assert missing == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_a_thumbnail(page: Any, server: Any, name: str) -> None:
    answer = page.request.get(f"{server.address}/api/workflow_templates/ComfyUI-CCM/{name}.jpg")
    assert answer.ok and answer.headers["content-type"] == "image/jpeg"


def test_the_template_for_frames_of_ones_own_measures_them(page: Any, server: Any, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.effect_noise((384, 384), 40).save(tmp_path / name)
    open_template(page, server, "measure_my_frames")
    page.evaluate(
        """path => {
            app.graph._nodes.find(n => n.type === "CCM_LoadFrames").widgets[0].value = path;
            app.queuePrompt(0, 1);
        }""",
        str(tmp_path),
    )
    shown = page.wait_for_function(
        """() => {
            const shown = app.graph._nodes.map(n => [n.title, app.nodeOutputs[n.id]]).filter(s => s[1]);
            return shown.length >= 4 ? Object.fromEntries(shown) : null;
        }"""
    ).json_value()
    assert len(shown["Overlay"]["images"]) == 2
    table, quality = (shown[title]["text"][0].splitlines() for title in ("Table", "Quality"))
    assert table[0] == quality[0] == "```"  # so that the preview keeps lines and columns
    assert [line.split()[0] for line in table[3:5]] == ["1", "2"]
    assert [line[:8] for line in quality[1:]] == ["frame 1:", "frame 2:"]
