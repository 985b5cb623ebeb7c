"""The pack in a real browser: templates open, run from the page and show what they made; nodes explain themselves."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from typing import Any

import browser_session as session
import pytest

TEMPLATES = sorted(path.stem for path in (session.ROOT / "workflows").glob("*.json"))
NEEDS_WEIGHTS = {  # templates that are only opened here; tests/host/foundation runs their graphs with small weights
    "qwen_image_edit": "Qwen-Image-Edit",
    "qwen_image": "Qwen-Image",
    "sd35": "SD3.5 large",
    "sdxl": "SDXL",
    "sd15": "SD1.5",
    "flux": "Flux dev",
}
RUNNABLE = [name for name in TEMPLATES if name not in NEEDS_WEIGHTS]
QUICK: list[tuple[str, str, object]] = [("KSampler", "steps", 3)]
FRAMES, OTHERS = "a folder of phantoms", "a folder of other phantoms"
# What to set before a template runs; its own values serve where nothing is said.
PREPARED: dict[str, list[tuple[str, str, object]]] = {
    "cohort_comparison": [
        ("CCM_GenerateNerveMask", "count", 1),
        ("EmptySD3LatentImage", "batch_size", 1),
        ("CCM_CohortPlot", "labels", "cohort\nControl\nT1NoDPN\nT1DPN"),
    ],
    "measure_my_frames": [("CCM_LoadFrames", "path", FRAMES)],
    "real_against_synthetic": [
        ("Real frames", "path", FRAMES),
        ("Generated frames", "path", OTHERS),
    ],
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with session.browser_in(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of phantoms by the names that PREPARED uses."""
    phantoms = importlib.import_module("ccm_pack.training.data.phantoms")
    folder = tmp_path_factory.mktemp("frames")
    for seed, name in enumerate((FRAMES, OTHERS)):
        request = phantoms.PhantomRequest(patients=3, frames=1, seed=seed)
        phantoms.write_phantoms(request, folder / name, workers=1)
    return {name: str(folder / name) for name in (FRAMES, OTHERS)}


@pytest.fixture
def tab(browser: Any, server: Any) -> Iterator[Any]:
    """An empty page that restores no former workflow; errors of the page's scripts fail the test."""
    opened = browser.new_page()
    session.settings(opened, server)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    opened.close()
    assert errors == []


@pytest.fixture
def page(tab: Any, server: Any) -> Any:
    """A page with ComfyUI loaded and ready."""
    session.settings(tab, server, LiteGraph__Node__TooltipDelay=0)
    tab.goto(server.address, wait_until="domcontentloaded")
    tab.wait_for_function("() => window.app?.graph && window.LiteGraph?.registered_node_types?.CCM_LoadNano")
    tab.wait_for_function(
        "() => document.querySelector('.side-tool-bar-container, .sidebar-item-group, nav')"
    )
    return tab


def values_for(
    name: str, frames: dict[str, str], steps: list[tuple[str, str, object]]
) -> list[tuple[str, str, object]]:
    known = steps + PREPARED.get(name, [])
    return [(node, widget, frames.get(str(value), value)) for node, widget, value in known]


def open_whole(page: Any, server: Any, name: str) -> None:
    """Open a template that has a thumbnail and misses no node."""
    answer = page.request.get(f"{server.address}/api/workflow_templates/ComfyUI-CCM/{name}.jpg")
    assert answer.ok and answer.headers["content-type"] == "image/jpeg", f"workflows/{name}.jpg is missing"
    session.open_template(page, server, name)
    missing = f"() => app.graph._nodes.map((node) => node.type).filter((type) => !{KNOWN})"
    assert page.evaluate(missing) == []
    assert session.misplaced(page) == []
    assert page.evaluate("() => app.canvas.ds.scale") >= 0.6  # below, ComfyUI draws no text


def run(page: Any, server: Any, name: str, values: list[tuple[str, str, object]]) -> None:
    """Open a template, run it from the page, and check that every picture and every text is there to be seen."""
    open_whole(page, server, name)
    session.set_widgets(page, values)
    problem = page.evaluate(session.RUN)
    assert not problem, f"{name} needs something, say what in PREPARED: {problem}"
    page.evaluate(WHOLE)  # outside of the window, ComfyUI draws no pictures and hides text
    shows = [node["type"] for node in session.template(name)["nodes"] if node["type"] in SHOW_PICTURES]
    page.wait_for_function(
        f"() => ({session.PICTURES})().filter(({{ loaded }}) => loaded).length >= {len(shows)}"
    )
    texts = page.wait_for_function(session.SEEN).json_value()
    assert all(session.contrast(one["style"]) >= 4.5 for one in texts)
    assert session.complaints(page) == []
    assert session.misplaced(page) == []  # nodes grow with what they show


WHOLE = "() => app.canvas.fitViewToSelectionAnimated({ duration: 50 })"
AS_OPENED = """({ scale, offset }) => {
    Object.assign(app.canvas.ds, { scale, offset });
    app.canvas.setDirty(true, true);
}"""
KNOWN = "LiteGraph.registered_node_types[type]"
SHOW_PICTURES = ("SaveImage", "PreviewImage", "MaskPreview", "CCM_GenerateNerveMask", "CCM_CohortPlot")


@pytest.mark.parametrize("name", NEEDS_WEIGHTS)
def test_a_template_that_needs_weights_sends_the_graph_of_the_api_and_says_what_is_missing(
    tab: Any, server: Any, name: str
) -> None:
    open_whole(tab, server, name)
    sent = tab.evaluate("async () => (await app.graphToPrompt()).output")
    api = json.loads((session.ROOT / "workflows" / "api" / f"{name}.json").read_text("utf-8"))
    for number, node in api.items():
        assert sent[number]["class_type"] == node["class_type"]
        assert sent[number]["inputs"] == node["inputs"]
    # the preview of the mask needs no weights and runs; what the other nodes lack is shown at them
    refused = "async () => { await app.queuePrompt(0, 1); return JSON.stringify(app.lastNodeErrors ?? {}); }"
    problem = tab.evaluate(refused)
    assert "weight file" in problem and "safetensors (of " in problem


def test_the_graph_of_the_batch_template_is_that_of_its_plan(tab: Any, server: Any) -> None:
    open_whole(tab, server, "data_set_overnight")
    sent = tab.evaluate("async () => (await app.graphToPrompt()).output")
    api = json.loads((session.ROOT / "workflows" / "api" / "data_set_overnight.json").read_text("utf-8"))
    assert sent == api


def test_runs_of_the_training_template_take_turns_and_give_a_data_set_that_can_be_trained_on(
    tab: Any, server: Any
) -> None:
    open_whole(tab, server, "train_an_adapter")
    session.set_widgets(tab, QUICK)
    for _ in range(3):
        assert tab.evaluate(session.RUN) == ""
    tab.evaluate(
        "() => app.refreshComboInNodes()"
    )  # the key R, after an adapter has been put into models/loras
    assert (
        tab.evaluate("() => app.graph._nodes.find((n) => n.title === 'Cohort').widgets[0].value") == "Control"
    )
    assert tab.evaluate(session.RUN) == ""
    folder = server.base / "output" / "ccm_training"
    records = importlib.import_module("ccm_pack.ccm.frames.listing").list_frames(folder).records
    assert {record.cohort for record in records} == {"Control", "T1NoDPN", "T1DPN"}
    assert len({record.patient for record in records}) == len(records) >= 6
    assert all(record.mask is not None for record in records)


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_template_opens_and_runs_from_the_page_and_shows_pictures_and_tables(
    tab: Any, server: Any, frames: dict[str, str], name: str
) -> None:
    run(tab, server, name, values_for(name, frames, QUICK))


@pytest.mark.soak
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1280, 1920])
@pytest.mark.parametrize("name", TEMPLATES)
def test_screenshots_of_every_template_at_two_sizes_in_two_themes(
    tab: Any, server: Any, frames: dict[str, str], name: str, width: int, theme: str
) -> None:
    """They lie in output/screenshots, to be looked at: the whole of it, and as it opens."""
    tab.set_viewport_size({"width": width, "height": width * 9 // 16})
    session.settings(tab, server, Comfy__ColorPalette=theme, Comfy__Minimap__Visible=False)
    if name in NEEDS_WEIGHTS:
        open_whole(tab, server, name)
    else:
        run(tab, server, name, values_for(name, frames, []))
    folder = session.ROOT / "output" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    for view, end in ((WHOLE, "_whole"), (AS_OPENED, "")):
        tab.evaluate(view, session.template(name)["extra"]["ds"])
        tab.wait_for_timeout(2000)
        tab.screenshot(path=folder / f"{name}_{width}_{theme}{end}.png")


@pytest.mark.soak
def test_tables_are_shown_in_nodes_2_too(tab: Any, server: Any, frames: dict[str, str]) -> None:
    """The nodes that newer pages draw with Vue, an option of this one."""
    session.settings(tab, server, Comfy__VueNodes__Enabled=True)
    open_whole(tab, server, "measure_my_frames")
    session.set_widgets(tab, values_for("measure_my_frames", frames, []))
    assert tab.evaluate(session.RUN) == ""
    assert max(one["rows"] for one in tab.wait_for_function(session.SEEN).json_value()) >= 3
    session.settings(tab, server, Comfy__VueNodes__Enabled=False)


def test_a_table_is_not_saved_with_the_workflow_and_survives_looking_at_another_one(
    tab: Any, server: Any, frames: dict[str, str]
) -> None:
    run(tab, server, "measure_my_frames", values_for("measure_my_frames", frames, []))
    saved = tab.evaluate("() => app.graph.serialize().nodes.map((node) => [node.type, node.widgets_values])")
    assert dict(saved)["CCM_NerveBiomarkers"] == [1.0417]
    sent = tab.evaluate("async () => (await app.graphToPrompt()).output")
    assert all("ccm_display" not in node["inputs"] for node in sent.values())
    tab.evaluate("() => app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    tab.wait_for_function("() => app.graph._nodes.length === 0")
    tab.evaluate("() => app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    tab.wait_for_function(f"() => ({session.TEXTS})().some(({{ rows }}) => rows >= 3)")


def test_every_node_has_its_help_page_and_its_tooltips_in_the_browser(page: Any) -> None:
    """Title, slots and widgets tell what they are; the help opens from the toolbox; no raw key is seen."""
    page.evaluate("() => app.graph.clear()")
    names = page.evaluate(
        "() => Object.keys(LiteGraph.registered_node_types).filter(n => n.startsWith('CCM_'))"
    )
    assert len(names) >= 15
    for name in names:
        shown, tips = page.evaluate(PLACE, name)
        assert len(tips) >= 2 and all(len(text) > 5 for text, _ in tips), name
        for text, place in tips:
            page.mouse.move(place[0] - 3, place[1])
            page.mouse.move(*place)
            page.wait_for_function(
                "(text) => document.querySelector('.node-tooltip')?.innerText === text", arg=text
            )
        assert not re.search(r"nodeDefs\.|\bg\.\w", " ".join(shown)), name
        page.get_by_test_id("info-button").click()
        page.wait_for_function(
            "(title) => document.querySelector('.node-help-content h1')?.innerText === title", arg=shown[0]
        )
        page.wait_for_function(
            "() => [...document.querySelectorAll('.node-help-content img')].every((i) => i.naturalWidth > 0)"
        )
        page.get_by_test_id("info-button").click()  # closes it again


PLACE = """async (name) => {
    app.graph.clear();
    const node = LiteGraph.createNode(name);
    app.graph.add(node);
    node.pos = [700, 300];
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [0, 0];
    app.canvas.deselectAll();
    app.canvas.selectNode(node);
    app.canvas.draw(true, true);
    const labels = [...node.inputs, ...node.outputs, ...(node.widgets ?? [])].map((part) => part.label ?? part.name);
    const box = app.canvas.canvas.getBoundingClientRect();
    const { description, output_tooltips, inputs } = LiteGraph.registered_node_types[name].nodeData;
    const at = (x, y) => [box.x + x, box.y + y];
    const tips = [[description, at(750, 300 - 15)]];
    node.outputs.forEach((_, i) => tips.push([output_tooltips[i], at(...node.getOutputPos(i))]));
    node.inputs.forEach(({ name, widget }, i) => {
        if (!widget) tips.push([inputs[name].tooltip, at(...node.getInputPos(i))]);
    });
    for (const widget of node.widgets ?? []) {
        if (!widget.element && inputs[widget.name]) // boxes of text have none, see test_registration.py
            tips.push([inputs[widget.name].tooltip, at(760, 300 + widget.y + 10)]);
    }
    return [[node.title, ...labels], tips];
}"""
