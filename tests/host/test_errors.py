"""What users get wrong, over HTTP: each gives a clear error of ours, and the server lives on.

Bad inputs are made by stock nodes: a SolidMask of NaN, an EmptyImage whose width is linked (and so not
checked by the host). Bad adapters have a file of their own, adapter/test_http.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from ccm_pack.batch.client import Client, ExecutionError, Graph, RefusedError

NAN = float("nan")
SIDE = 128


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def trees(count: int) -> dict[str, Any]:
    targets = {"cnfl": 0.0, "cnfd": 0.0, "cnbd": 0.0, "tortuosity": 0.0}
    return node(
        "CCM_GenerateNerveMask", cohort="Control", **targets, count=count, seed=3, size=SIDE, width=3.0
    )


SOURCES: Graph = {
    "nano": node("CCM_LoadNano"),
    "prompt": node("CCM_DPNPrompt", cohort="Control", clip=["nano", 1]),
    "one latent": node("EmptySD3LatentImage", width=SIDE, height=SIDE, batch_size=1),
    "three latents": node("EmptySD3LatentImage", width=SIDE, height=SIDE, batch_size=3),
    "two masks": trees(2),
    "good mask": trees(1),
    "good image": node("MaskToImage", mask=["good mask", 0]),
    "empty mask": node("SolidMask", value=0.0, width=SIDE, height=SIDE),
    "white mask": node("SolidMask", value=1.0, width=SIDE, height=SIDE),
    "wide mask": node("SolidMask", value=0.01, width=2 * SIDE, height=SIDE),
    "nan mask": node("SolidMask", value=NAN, width=SIDE, height=SIDE),
    "no mask": node("CropMask", mask=["empty mask", 0], x=SIDE, y=0, width=SIDE, height=SIDE),
    "nan image": node("MaskToImage", mask=["nan mask", 0]),
    "zero": node("PrimitiveInt", value=0),
    "no image": node("EmptyImage", width=["zero", 0], height=SIDE, batch_size=2, color=0),
}


class Case(NamedTuple):
    """A node, what it gets, and what it must say."""

    class_type: str
    inputs: dict[str, Any]
    message: str


def control(mask: str, latent: str, message: str) -> Case:
    inputs = {"positive": ["prompt", 0], "negative": ["prompt", 1], "control_net": ["nano", 3]}
    inputs |= {"vae": ["nano", 2], "strength": 1.0, "start": 0.0, "end": 1.0}
    return Case("CCM_ApplyNerveMaskControl", {**inputs, "mask": [mask, 0], "latent": [latent, 0]}, message)


def prepare(message: str, **inputs: Any) -> Case:
    return Case("CCM_PrepareNerveMask", {"width": 3.0, "field_size": SIDE, **inputs}, message)


def segment(image: str, um_per_px: float, message: str) -> Case:
    return Case("CCM_SegmentNerves", {"image": [image, 0], "um_per_px": um_per_px}, message)


def biomarkers(mask: str, um_per_px: float, message: str) -> Case:
    return Case("CCM_NerveBiomarkers", {"mask": [mask, 0], "um_per_px": um_per_px}, message)


def fidelity(image: str, message: str) -> Case:
    inputs = {"images_a": ["good image", 0], "images_b": [image, 0]}
    return Case("CCM_Fidelity", {**inputs, "extractor": "embedded nerve encoder", "seed": 0}, message)


FAILING = {
    "control: empty mask": control("empty mask", "one latent", "Mask 0 is empty"),
    "control: another aspect": control("wide mask", "one latent", "aspect of 2.000"),
    "control: no nerve mask": control("white mask", "one latent", "is no nerve mask: 0% of it is black"),
    "control: NaN mask": control("nan mask", "one latent", "NaN or infinite"),
    "control: 0-sized mask": control("no mask", "one latent", "no pixels"),
    "control: too few masks": control("two masks", "three latents", "2 masks for 3 latents"),
    "control: too many masks": control("two masks", "one latent", "2 masks for 1 latents"),
    "prepare: empty mask": prepare("Mask 0 is empty", mask=["empty mask", 0]),
    "prepare: white mask": prepare("Mask 0 is white all over", mask=["white mask", 0]),
    "prepare: another aspect": prepare("expected a square", mask=["wide mask", 0]),
    "prepare: NaN mask": prepare("NaN or infinite", mask=["nan mask", 0]),
    "prepare: NaN image": prepare("NaN or infinite", image=["nan image", 0]),
    "prepare: 0-sized image": prepare("no pixels", image=["no image", 0]),
    "prepare: nothing": prepare("neither an image nor a mask"),
    "prepare: both": prepare("image and mask", image=["good image", 0], mask=["good mask", 0]),
    "prepare: linked field of 0": prepare("field", mask=["good mask", 0], field_size=["zero", 0]),
    "segment: NaN image": segment("nan image", 1.0417, "NaN or infinite"),
    "segment: 0-sized image": segment("no image", 1.0417, "no pixels"),
    "segment: pixel size 0": segment("good image", 0.0, "must be positive"),
    "segment: pixel size NaN": segment("good image", NAN, "must be positive"),
    "segment: a field wider than an eye": segment("good image", 100.0, "spans 12.8 mm"),
    "biomarkers: NaN mask": biomarkers("nan mask", 1.0417, "NaN or infinite"),
    "biomarkers: 0-sized mask": biomarkers("no mask", 1.0417, "no pixels"),
    "biomarkers: pixel size 0": biomarkers("good mask", 0.0, "must be positive"),
    "biomarkers: pixel size NaN": biomarkers("good mask", NAN, "must be positive"),
    "fidelity: NaN image": fidelity("nan image", "NaN or infinite"),
    "fidelity: 0-sized image": fidelity("no image", "no pixels"),
    "masks: linked count of 0": Case(
        "CCM_GenerateNerveMask", {**trees(1)["inputs"], "count": ["zero", 0]}, "Asked for 0 masks"
    ),
}

REFUSED = {
    "prompt: unknown cohort": Case(
        "CCM_DPNPrompt", {"cohort": "T3DPN", "clip": ["nano", 1]}, "Unknown cohort 'T3DPN'"
    ),
    "masks: unknown cohort": Case(
        "CCM_GenerateNerveMask", {**trees(1)["inputs"], "cohort": "T3DPN"}, "Unknown cohort 'T3DPN'"
    ),
    "fidelity: unknown extractor": Case(
        "CCM_Fidelity", {**fidelity("good image", "")[1], "extractor": "nowhere.pth"}, "There is no extractor"
    ),
}


def graph(case: Case) -> Graph:
    tested = node(case.class_type, **case.inputs)
    return {**SOURCES, "tested": tested, "shown": node("PreviewAny", source=["tested", 0])}


@pytest.fixture(autouse=True)
def good_prompt_afterwards(client: Client) -> Iterator[None]:
    """A graph without faults still works after each test."""
    yield
    assert '"synthetic": true' in client.run(
        {"mask": trees(1), "shown": node("PreviewAny", source=["mask", 1])}
    ).text("shown")


@pytest.mark.parametrize("case", FAILING.values(), ids=FAILING.keys())
def test_a_bad_input_fails_in_our_node_with_its_reason_and_the_fix(client: Client, case: Case) -> None:
    with pytest.raises(ExecutionError, match=case.message) as caught:
        client.run(graph(case))
    assert caught.value.node == "tested"
    assert "Fix: " in str(caught.value)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_choice_is_refused_before_anything_runs(client: Client, case: Case) -> None:
    with pytest.raises(RefusedError, match=case.message) as caught:
        client.run(graph(case))
    assert set(caught.value.node_errors) == {"tested"}
    assert "Fix: " in str(caught.value)
