"""The API graph of every foundation model through a real server, with small random weights under the published names.

What is changed in a graph: the size of the frame, the steps, and the text encoder, which the host reads at full width
only. The classes that the host does not detect at small widths are registered by the pack small_pack.
"""

from __future__ import annotations

import importlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ccm_pack.batch.client import Client, ExecutionError, RefusedError
from ccm_pack.ccm.foundation import FOLDERS, FOUNDATIONS
from PIL import Image
from safetensors.torch import load, load_file, save_file

ROOT = Path(__file__).resolve().parents[3]
TEXT = ROOT / "weights" / "ccm_nano_text.safetensors"
SIDE = 64
Maker = Callable[[Any, Path], Any]


def checkpoint(base: str, channels: int) -> Maker:
    """Return what writes one file with model and autoencoder, as publishers do."""

    def write(models: Any, path: Path) -> None:
        parts = {
            "model.diffusion_model.": getattr(models, base)(path.with_suffix(".base")),
            "first_stage_model.": models.taesd(path.with_suffix(".vae"), channels),
        }
        state = {p + k: v for p, file in parts.items() for k, v in load_file(file).items()}
        save_file(state, path)

    return write


def of(name: str, *options: Any) -> Maker:
    return lambda models, path: getattr(models, name)(path, *options)


SMALL: dict[str, dict[str, Maker]] = {
    "qwen_image_edit": {"diffusion_model": of("qwen_image"), "vae": of("wan_vae")},
    "qwen_image": {
        "diffusion_model": of("qwen_image"),
        "vae": of("wan_vae"),
        "control_net": of("qwen_control"),
    },
    "sd35": {"checkpoint": checkpoint("sd35", 16), "control_net": of("sd35_control")},
    "sdxl": {"checkpoint": checkpoint("sdxl", 4), "vae": of("taesd", 4), "control_net": of("sdxl_control")},
    "sd15": {"checkpoint": checkpoint("unet", 4), "control_net": of("unet_control")},
    "flux": {"diffusion_model": of("flux"), "vae": of("taesd", 16), "control_net": of("flux_control")},
}


def graph(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def small_server(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A ComfyUI with the pack, the pack for tests, and no weights."""
    base = tmp_path_factory.mktemp("foundation")
    (base / "custom_nodes").mkdir()
    pack = base / "custom_nodes" / "small_pack"
    shutil.copytree(Path(__file__).with_name("small_pack"), pack)
    shutil.copy(Path(__file__).parents[1] / "training" / "small_models.py", pack)
    server = importlib.import_module("ccm_pack.host.server")
    with server.running(comfy, base=base) as running:
        yield running


@pytest.fixture
def small_client(small_server: Any) -> Iterator[Client]:
    with Client(small_server.address) as connected:
        yield connected
    assert small_server.is_alive()


def put_weights(server: Any, name: str) -> None:
    """Write the small weights of a graph's base under the names that its publishers use."""
    models = importlib.import_module("small_models")
    for weight in FOUNDATIONS[graph(name)["1"]["inputs"]["base"]].weights:
        path = server.base / "models" / FOLDERS[weight.part] / weight.names[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if weight.part == "text_encoder":
            shutil.copyfile(TEXT, path)
        else:
            SMALL[name][weight.part](models, path)


def made_small(name: str, seed: int) -> dict[str, Any]:
    """Return a graph for small weights, whose mask is drawn from this seed."""
    nodes = graph(name)
    nodes["2"]["inputs"] |= {"size": SIDE, "seed": seed, "cnfl": 20.0, "width": 2.0}
    nodes["3"]["inputs"] |= {"width": SIDE, "height": SIDE}
    nodes["6"]["inputs"] |= {"steps": 2, "cfg": 1.0, "sampler_name": "euler"}
    nodes["latents"] = {
        "class_type": "SaveLatent",
        "inputs": {"samples": ["6", 0], "filename_prefix": "small"},
    }
    sees = name == "qwen_image_edit"
    nodes["clip"] = {"class_type": "SmallSeeingClip" if sees else "CCM_LoadNano", "inputs": {}}
    nodes["4"]["inputs"]["clip"] = ["clip", 0 if sees else 1]
    return nodes


def sampled(client: Client, nodes: dict[str, Any]) -> tuple[np.ndarray, torch.Tensor]:
    """Return the frame, and the latents that it was decoded from: eight bits round small differences away."""
    outputs = client.run(nodes)
    (picture,), (latents,) = outputs.files("8"), outputs.files("latents", "latents")
    frame = np.asarray(Image.open(io.BytesIO(client.fetch(picture))), np.float32)
    return frame, load(client.fetch(latents))["latent_tensor"]


@pytest.mark.parametrize("name", SMALL)
def test_missing_weights_are_named_with_folder_and_source_before_anything_runs(
    small_server: Any, small_client: Client, name: str
):
    weights = FOUNDATIONS[graph(name)["1"]["inputs"]["base"]].weights
    folders = [small_server.base / "models" / FOLDERS[weight.part] for weight in weights]
    for folder, weight in zip(folders, weights, strict=True):
        (folder / weight.names[0]).unlink(missing_ok=True)
    with pytest.raises(RefusedError) as refused:
        small_client.run(graph(name))
    for weight, folder in zip(weights, folders, strict=True):
        assert f"{weight.names[0]} (of {weight.source}) in " in str(refused.value)
        assert str(folder) in str(refused.value)


@pytest.mark.parametrize("name", SMALL)
def test_prompt_and_mask_become_a_frame_that_follows_the_mask(
    small_server: Any, small_client: Client, name: str
):
    put_weights(small_server, name)
    (frame, one), (_, other), (_, again) = (sampled(small_client, made_small(name, s)) for s in (1, 2, 1))
    assert frame.shape == (SIDE, SIDE, 3) and frame.std() > 1
    assert torch.isfinite(one).all() and torch.equal(one, again)
    assert float((one - other).norm() / one.norm()) > 1e-4
    empty = made_small(name, 1)
    empty["2"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": SIDE, "height": SIDE}}
    with pytest.raises(ExecutionError, match="Mask 0 is empty"):
        small_client.run(empty)


def test_the_base_that_has_no_control_net_is_refused_on_that_route(small_server: Any, small_client: Client):
    put_weights(small_server, "qwen_image_edit")
    nodes = made_small("qwen_image", 1)
    nodes["1"]["inputs"]["base"] = "Qwen-Image-Edit"
    with pytest.raises(ExecutionError, match="without a control net.*Nerve Mask Reference"):
        small_client.run(nodes)
