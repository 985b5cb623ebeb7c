"""Malformed prompts over HTTP: whatever comes in, there is an answer, and the server goes on working.

Prompt N depends on N alone, so that a failure can be repeated. The short form belongs to every test run, the
long one to `python . soak`.
"""

from __future__ import annotations

import copy
import json
import random
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ccm_pack.batch.client import Client

SIDE = 96
NERVE_ENCODER = "embedded nerve encoder"
PICTURE = Path(__file__).resolve().parents[2] / "workflows" / "first_steps.jpg"
SHOWING = {"measured", "distance", "quality", "pairs", "copies", "equal", "report"}  # output nodes of ours
ANSWER_SECONDS = 300  # far more than any prompt here takes; a server that needs it hangs
Prompt = dict[str, Any]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def good_prompt() -> Prompt:
    """Every node of ours on small pictures, but no sampling."""
    targets = {"cnfl": 0.0, "cnfd": 0.0, "cnbd": 0.0, "tortuosity": 0.0}
    ours = {
        "nano": node("CCM_LoadNano"),
        "adapter": node("CCM_LoadAdapter", model=["nano", 0], adapter="embedded: wdlora", strength=1.0),
        "prompt": node("CCM_DPNPrompt", cohort="T1DPN", clip=["nano", 1], modifiers="hazy"),
        "trees": node(
            "CCM_GenerateNerveMask", cohort="Control", **targets, count=2, seed=1, size=SIDE, width=3.0
        ),
        "mask": node("CCM_PrepareNerveMask", mask=["trees", 0], width=3.0, field_size=SIDE),
        "control": node(
            "CCM_ApplyNerveMaskControl",
            positive=["prompt", 0],
            negative=["prompt", 1],
            control_net=["nano", 3],
            mask=["mask", 0],
            vae=["nano", 2],
            strength=1.0,
            start=0.0,
            end=1.0,
            latent=["latent", 0],
        ),
        "traced": node("CCM_SegmentNerves", image=["mask", 1], um_per_px=400 / SIDE),
        "measured": node("CCM_NerveBiomarkers", mask=["traced", 0], um_per_px=400 / SIDE),
        "distance": node(
            "CCM_Fidelity",
            images_a=["mask", 1],
            images_b=["mask", 1],
            extractor=NERVE_ENCODER,
            seed=0,
        ),
        "frames": node("CCM_LoadFrames", path=str(PICTURE), first=0, count=1, um_per_px=1.0),
        "quality": node("CCM_FrameQuality", image=["frames", 0], um_per_px=["frames", 1]),
        "pairs": node("CCM_PairedSimilarity", images_a=["mask", 1], images_b=["mask", 1]),
        "copies": node(
            "CCM_FindCopies",
            generated=["mask", 1],
            training=["mask", 1],
            heldout=["mask", 1],
            extractor=NERVE_ENCODER,
        ),
        "equal": node("CCM_Equivalence", **tables(), filename_prefix="fuzz"),
        "report": node(
            "CCM_Report",
            real_frames=["mask", 1],
            generated_frames=["mask", 1],
            **tables(),
            extractor=NERVE_ENCODER,
            seed=0,
            filename_prefix="fuzz",
        ),
    }
    latent = node("EmptySD3LatentImage", width=SIDE, height=SIDE, batch_size=2)
    return {**ours, "latent": latent, **shown("adapter", "control", "measured", "distance")}


def tables() -> dict[str, Any]:
    """The biomarkers of both frames twice, with cohorts but no patients."""
    labels = {"real_labels": "cohort\nControl", "generated_labels": "cohort\nControl"}
    rows = {"real": ["measured", 1], "generated": ["measured", 1]}
    return {**rows, **labels, "design": "independent", "margins": ""}


def shown(*names: str) -> Prompt:
    return {f"show {name}": node("PreviewAny", source=[name, 0]) for name in names}


WITH_INPUTS = [name for name, data in good_prompt().items() if data["inputs"]]

# What goes wrong. A fault changes the prompt in place.

ODD_TYPES: list[Any] = [
    None,
    True,
    "text",
    3.7,
    5,
    {},
    {"a": [1]},
    {"__value__": [1, 2]},
    [],
    [[]],
    [1, 2, 3],
]
EXTREMES: list[Any] = [-1, 0, 2**31, 2**63, -(2**63), 2**64, 10**30, 1e308, -1e308, 5e-324, 0.0001]
NO_NUMBERS: list[Any] = [float("nan"), float("inf"), float("-inf"), "nan", "1e999", "0x10"]
ODD_TEXTS: list[str] = [
    "",
    "Ω≈ç√∫",
    "\u202egnp.lmth",
    "🔬" * 50,
    "\x00",
    "\ud800",
    "../../etc/passwd",
    "%s%n{0}",
]
HUGE_TEXTS: list[str] = ["x" * 1_000_000, "(" * 20_000, "word, " * 50_000, "9" * 6_000]
ODD_CLASSES: list[Any] = ["CCM_Nothing", "", None, 7, [], {}, "ccm_loadnano", "CCM_LoadNano\x00", "__init__"]
ODD_SLOTS: list[Any] = [99, -1, -99, "0", 1.5, None, True, [], 2**70]
ODD_NODES: list[Any] = [None, [], "node", 7, {}, {"class_type": "CCM_LoadNano"}, {"inputs": {}}]
ODD_INPUTS: list[Any] = [None, [], "inputs", 7]


def some_input(prompt: Prompt, rng: random.Random) -> tuple[dict[str, Any], str]:
    """Pick an input of a node of ours; a prompt whose faults left none gets one."""
    found = [
        (data["inputs"], name)
        for data in prompt.values()
        if isinstance(data, dict) and isinstance(data.get("inputs"), dict)
        if str(data.get("class_type")).startswith("CCM_")
        for name in data["inputs"]
    ]
    return rng.choice(found)


def put(values: list[Any]) -> Callable[[Prompt, random.Random], None]:
    def fault(prompt: Prompt, rng: random.Random) -> None:
        inputs, name = some_input(prompt, rng)
        inputs[name] = copy.deepcopy(rng.choice(values))

    return fault


def missing_input(prompt: Prompt, rng: random.Random) -> None:
    inputs, name = some_input(prompt, rng)
    del inputs[name]


def unknown_input(prompt: Prompt, rng: random.Random) -> None:
    inputs, _ = some_input(prompt, rng)
    inputs[rng.choice(ODD_TEXTS)] = rng.choice(ODD_TYPES)


def dangling_link(prompt: Prompt, rng: random.Random) -> None:
    inputs, name = some_input(prompt, rng)
    inputs[name] = [rng.choice(["nowhere", "", 7, None, -1]), 0]


def wrong_slot(prompt: Prompt, rng: random.Random) -> None:
    inputs, name = some_input(prompt, rng)
    inputs[name] = [rng.choice(list(prompt)), rng.choice(ODD_SLOTS)]


def wrong_link(prompt: Prompt, rng: random.Random) -> None:
    """Another node's output, of any type; where it lies downstream, the prompt becomes a cycle."""
    inputs, name = some_input(prompt, rng)
    inputs[name] = [rng.choice(list(prompt)), rng.randrange(4)]


def cycle(prompt: Prompt, rng: random.Random) -> None:
    first, second = rng.sample(["trees", "mask", "traced"], 2)
    prompt["trees"]["inputs"]["size"] = [first, 0]
    prompt["mask"]["inputs"]["mask"] = [second, 0]


def linked_number(prompt: Prompt, rng: random.Random) -> None:
    """The host does not check the range of what comes through a link."""
    values = [value for value in EXTREMES + NO_NUMBERS if isinstance(value, (int, float))]
    name, kind = rng.choice(
        [("count", "Int"), ("size", "Int"), ("seed", "Int"), ("width", "Float"), ("cnfl", "Float")]
    )
    value = rng.choice([v for v in values if isinstance(v, int) == (kind == "Int")])
    prompt["number"] = node(f"Primitive{kind}", value=value)
    target = prompt["trees"] if name in prompt["trees"]["inputs"] else prompt["mask"]
    target["inputs"][name] = ["number", 0]


def unknown_class(prompt: Prompt, rng: random.Random) -> None:
    prompt[rng.choice(list(prompt))]["class_type"] = copy.deepcopy(rng.choice(ODD_CLASSES))


def odd_node(prompt: Prompt, rng: random.Random) -> None:
    show_alone(prompt, rng.choice(WITH_INPUTS), copy.deepcopy(rng.choice(ODD_NODES)))


def odd_inputs(prompt: Prompt, rng: random.Random) -> None:
    name = rng.choice(WITH_INPUTS)
    spoilt = {"class_type": prompt[name]["class_type"], "inputs": copy.deepcopy(rng.choice(ODD_INPUTS))}
    show_alone(prompt, name, spoilt)


def show_alone(prompt: Prompt, name: str, spoilt: Any) -> None:
    """Put something that is no node in the place of a node, and show nothing else.

    Where ComfyUI 0.3.75 queues a prompt with a node whose inputs are no object, because another output is
    valid or the node has no inputs to check, its own queue ends; no node of ours has been called by then.
    """
    prompt.clear()
    prompt.update({name: spoilt, **shown(name)})


def odd_name(prompt: Prompt, rng: random.Random) -> None:
    prompt[rng.choice(ODD_TEXTS)] = prompt.pop(rng.choice(list(prompt)))


def no_output(prompt: Prompt, rng: random.Random) -> None:
    for name in [name for name in prompt if name.startswith("show ") or name in SHOWING]:
        del prompt[name]


FAULTS: list[Callable[[Prompt, random.Random], None]] = [
    put(ODD_TYPES),
    put(EXTREMES),
    put(NO_NUMBERS),
    put(ODD_TEXTS),
    put(HUGE_TEXTS),
    missing_input,
    unknown_input,
    dangling_link,
    wrong_slot,
    wrong_link,
    cycle,
    linked_number,
    unknown_class,
    odd_node,
    odd_inputs,
    odd_name,
    no_output,
]
ODD_BODIES: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"null",
    b'{"prompt": 7}',
    b'{"prompt": []}',
    b"{}",
    b"\xff\xfe",
]


def malformed(number: int) -> bytes:
    """Return request body `number`: now and then no prompt at all, else one with one fault, seldom with more.

    Structural faults come last, so that the others still find what they change.
    """
    rng = random.Random(number)
    if rng.random() < 0.04:
        return rng.choice(ODD_BODIES)
    prompt = good_prompt()
    chosen = rng.choices(range(len(FAULTS)), k=rng.choice([1, 1, 1, 2, 3]))
    for index in sorted(set(chosen)):
        FAULTS[index](prompt, rng)
        if index >= FAULTS.index(unknown_class):
            break
    return json.dumps({"prompt": prompt}).encode("ascii")


def ask(address: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Return the status and the answer, parsed where it is JSON."""
    request = urllib.request.Request(address + path, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def outcome(address: str, body: bytes) -> str:
    """Send a body, wait until the server has dealt with it, and return what became of it in one word."""
    status, answer = ask(address, "/prompt", body)
    if status != 200:
        return "refused" if status == 400 else "host error"
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        _, history = ask(address, f"/history/{answer['prompt_id']}")
        if history:
            return verdict(history[answer["prompt_id"]]["status"]["messages"])
        time.sleep(0.05)
    pytest.fail(f"no end after {ANSWER_SECONDS} s: {body[:2000]!r}")


def verdict(messages: list[tuple[str, dict[str, Any]]]) -> str:
    told = dict(messages)
    if "execution_success" in told:
        return "ran"
    error = told["execution_error"]
    return "error of ours" if ".ccm.errors." in error["exception_type"] else "other error"


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.soak)])
def test_every_malformed_prompt_is_answered_and_the_server_works_on(
    server: Any, client: Client, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tally: Counter[str] = Counter()
    for number in range(count):
        tally[outcome(server.address, malformed(number))] += 1
        assert server.is_alive(), f"prompt {number} ended the server: {malformed(number)[:2000]!r}"
    with capsys.disabled():
        print(f"\n{count} malformed prompts: {dict(tally)}")
    assert "embedded nerve encoder" in client.run(good_prompt()).text("show distance")


def test_the_same_number_gives_the_same_prompt() -> None:
    assert malformed(11) == malformed(11) != malformed(12)
