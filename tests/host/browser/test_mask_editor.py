"""A generated mask is opened in ComfyUI's own mask editor, gets a nerve drawn in, and goes on as a mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import browser_session as session
import pytest
from PIL import Image

pytestmark = pytest.mark.soak

GRAPH = """() => {
    app.graph.clear();
    const add = (type, x) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        node.pos = [x, 80];
        return node;
    };
    const made = add("CCM_GenerateNerveMask", 20);
    const [load, clean, shown] = [add("LoadImage", 400), add("CCM_PrepareNerveMask", 760), add("MaskPreview", 1120)];
    load.connect(0, clean, 0);
    clean.connect(0, shown, 0);
    for (const node of [load, clean, shown]) node.mode = 4; // the mask alone comes first
    window.nodes = { made, load, clean, shown };
}"""
SET = """([index, value]) => {
    const input = document.querySelectorAll(".mask-editor-dialog input")[index];
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, value);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.dispatchEvent(new Event("change", { bubbles: true }));
}"""
INPUTS = """() => [...document.querySelectorAll(".mask-editor-dialog input")].map(({ type }) => type)"""


@pytest.fixture
def page(tmp_path_factory: pytest.TempPathFactory, server: Any) -> Iterator[Any]:
    Image.new("RGB", (64, 64)).save(server.base / "input" / "example.png")  # every ComfyUI has one
    with session.browser_in(tmp_path_factory.mktemp("profile")) as context:
        opened = context.new_page()
        session.settings(opened, server)
        opened.goto(server.address, wait_until="domcontentloaded")
        opened.wait_for_function("() => window.app?.graph && LiteGraph.registered_node_types?.CCM_LoadNano")
        yield opened


def test_a_stroke_of_the_brush_becomes_a_nerve_of_the_mask(page: Any, server: Any) -> None:
    page.evaluate(GRAPH)
    page.wait_for_function("() => nodes.load.imgs?.[0]?.naturalWidth > 0")
    assert page.evaluate(session.RUN) == ""
    page.wait_for_function("() => nodes.made.imgs?.[0]?.naturalWidth === 384")
    page.evaluate(
        """() => {
            app.constructor.copyToClipspace(nodes.made);
            app.constructor.pasteFromClipspace(nodes.load);
            for (const node of [nodes.load, nodes.clean, nodes.shown]) node.mode = 0;
            nodes.made.mode = 4;
            app.canvas.selectNode(nodes.load);
        }"""
    )
    page.wait_for_function("() => nodes.load.imgs?.[0]?.naturalWidth === 384")
    page.evaluate("() => app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor')")
    draw_stroke(page)
    page.locator(".mask-editor-dialog").get_by_text("Save").click()
    page.wait_for_function("() => String(nodes.load.widgets[0].value).includes('clipspace')")
    assert page.evaluate(session.RUN) == ""
    page.wait_for_function("() => nodes.shown.imgs?.[0]?.naturalWidth === 384")
    before, after = (picture(page, name) for name in ("made", "shown"))
    added = sum(a > 128 and b < 128 for a, b in zip(after.tobytes(), before.tobytes(), strict=True))
    assert added > 150  # a stroke of 100 pixels and more, 3 pixels wide


def draw_stroke(page: Any) -> None:
    """Take the paint brush, white, thin and opaque, and draw across the darkest band of the picture."""
    canvas = page.locator(".mask-editor-dialog canvas").first
    page.wait_for_timeout(2000)  # the editor fits the picture into its window
    page.locator(".mask-editor-dialog .maskEditor_toolPanelContainer").nth(1).click()
    kinds = page.evaluate(INPUTS)
    page.evaluate(SET, [kinds.index("color"), "#ffffff"])
    sliders = [number for number, kind in enumerate(kinds) if kind == "range"]
    page.evaluate(SET, [sliders[0], "3"])
    page.evaluate(SET, [sliders[1], "1"])
    box = canvas.bounding_box()
    left, right, y = (
        box["x"] + 0.2 * box["width"],
        box["x"] + 0.8 * box["width"],
        box["y"] + 0.5 * box["height"],
    )
    page.mouse.move(left, y)
    page.mouse.down()
    for step in range(61):
        page.mouse.move(left + (right - left) * step / 60, y + step)
        page.wait_for_timeout(15)
    page.mouse.up()
    page.wait_for_timeout(500)


def picture(page: Any, name: str) -> Image.Image:
    """The picture that a node shows, in grey."""
    from io import BytesIO

    answer = page.request.get(page.evaluate(f"() => nodes.{name}.imgs[0].src"))
    return Image.open(BytesIO(answer.body())).convert("L")
