"""Bad adapters over HTTP: each gives a clear error of ours, and the server lives on, as `client` checks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ccm_pack.batch.client import ExecutionError, RefusedError
from ccm_pack.ccm.adapter import AdapterLayer, save_adapter
from safetensors.torch import load_file, save_file

QKV = "diffusion_model.joint_blocks.0.x_block.attn.qkv"


@pytest.fixture(scope="module")
def models(lab: Any, server: Any) -> Path:
    """The server's models folder, with two base models in it."""
    folder = server.base / "models"
    for name in ("loras", "diffusion_models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, seed in (("base", 0), ("other", 9)):
        save_file(lab.state(seed), folder / "diffusion_models" / f"{name}.safetensors")
    return folder


def graph(adapter: object, base: str = "base", strength: object = 1.0) -> dict[str, Any]:
    unet = {"unet_name": f"{base}.safetensors", "weight_dtype": "default"}
    inputs = {"model": ["1", 0], "adapter": adapter, "strength": strength}
    return {
        "1": {"class_type": "UNETLoader", "inputs": unet},
        "2": {"class_type": "CCM_LoadAdapter", "inputs": inputs},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
    }


def put(lab: Any, models: Path, name: str, files: dict, spoil: Callable[[Path], None] | None = None) -> str:
    """Copy the corrected adapter to the server under this name, and spoil it."""
    path = models / "loras" / f"{name}.safetensors"
    shutil.copyfile(lab.loras / files["corrected"], path)
    if spoil is not None:
        spoil(path)
    return path.name


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_safetensors(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>" * 100)


def changed(key: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        save_file({**load_file(path), key: tensor}, path)

    return spoil


def foreign(path: Path) -> None:
    save_adapter(
        path, {"a.b": AdapterLayer(torch.ones(1, 2), torch.ones(2, 1), 1.0)}, {"a.b": torch.ones(2, 2)}
    )


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, "truncated or not a safetensors file"),
    "empty": (empty, "is empty"),
    "html": (no_safetensors, "truncated or not a safetensors file"),
    "nan": (changed(f"{QKV}.lora_B.weight", torch.full((384, 4), torch.nan)), "NaN or infinite"),
    "foreign": (foreign, "not in this model"),
    "unknown-key": (changed("lora_te_text.lora_up.weight", torch.ones(2, 2)), "cannot apply"),
    "wrong-shape": (changed(f"{QKV}.lora_A.weight", torch.ones(4, 64)), "not of the model's size"),
}


def test_a_good_adapter_says_what_it_is(lab: Any, models: Path, files: dict, client: Any):
    info = client.run(graph(put(lab, models, "good", files))).text("3")
    assert "WDLoRA" in info and "base: the one it was trained on" in info


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_file_is_refused_with_its_reason(
    lab: Any, models: Path, files: dict, client: Any, kind: str
):
    spoil, message = SPOILT[kind]
    with pytest.raises(ExecutionError, match=message) as caught:
        client.run(graph(put(lab, models, kind, files, spoil)))
    assert caught.value.node == "2"


def test_another_base_is_refused(lab: Any, models: Path, files: dict, client: Any):
    with pytest.raises(ExecutionError, match="trained on another base"):
        client.run(graph(put(lab, models, "good", files), base="other"))


@pytest.mark.parametrize("name", ["nowhere.safetensors", "../secret.safetensors", "", 7])
def test_a_missing_file_is_refused_before_anything_runs(models: Path, client: Any, name: object):
    with pytest.raises(RefusedError, match="There is no adapter"):
        client.run(graph(name))


@pytest.mark.parametrize("strength", [1000, "strong"])
def test_an_impossible_strength_is_refused(
    lab: Any, models: Path, files: dict, client: Any, strength: object
):
    with pytest.raises(RefusedError, match="strength"):
        client.run(graph(put(lab, models, "good", files), strength=strength))
