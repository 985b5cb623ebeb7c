"""The API client against a real ComfyUI, with stock nodes only."""

from __future__ import annotations

import gc
import io
from pathlib import Path
from typing import Any

import pytest
from ccm_pack.batch.client import Client, ExecutionError, Progress, RefusedError
from ccm_pack.ccm.errors import GraphError, HostError
from PIL import Image


def grey_image(colour: int, side: int = 16) -> dict[str, Any]:
    inputs = {"width": side, "height": side, "batch_size": 2, "color": colour}
    return {"class_type": "EmptyImage", "inputs": inputs}


def save(source: str) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": "client/x"}}


def test_a_run_returns_the_saved_files_with_their_pixels(client: Client) -> None:
    outputs = client.run({"1": grey_image(0x336699), "2": save("1")})
    files = outputs.files("2")
    assert len(files) == 2
    pixels = Image.open(io.BytesIO(client.fetch(files[0])))
    assert pixels.size == (16, 16)
    assert pixels.getpixel((3, 3)) == (0x33, 0x66, 0x99)


def test_progress_names_the_node_that_runs(client: Client) -> None:
    seen: list[Progress] = []
    client.run({"1": grey_image(0x010203), "2": save("1")}, seen.append)
    assert {p.class_type for p in seen} == {"EmptyImage", "SaveImage"}


def test_a_cached_run_still_returns_its_outputs(client: Client) -> None:
    graph = {"1": grey_image(0x040506), "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    first = client.run(graph).files("2")
    assert client.run(graph).files("2") == first


def test_an_uploaded_image_comes_back_through_load_image(client: Client, tmp_path: Path) -> None:
    Image.new("RGB", (8, 4), (10, 20, 30)).save(tmp_path / "frame.png")
    name = client.upload_image(tmp_path / "frame.png")
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": name}}, "2": save("1")}
    pixels = Image.open(io.BytesIO(client.fetch(client.run(graph).files("2")[0])))
    assert pixels.size == (8, 4) and pixels.getpixel((0, 0)) == (10, 20, 30)


def test_uploading_a_missing_file_names_it(client: Client, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="nowhere.png"):
        client.upload_image(tmp_path / "nowhere.png")


def test_an_invalid_graph_is_refused_with_the_reason_per_node(client: Client) -> None:
    with pytest.raises(RefusedError, match="width") as caught:
        client.run({"1": grey_image(0, side=-1), "2": save("1")})
    assert "1" in caught.value.node_errors


def test_a_graph_of_which_some_outputs_are_invalid_is_refused_whole(client: Client) -> None:
    """ComfyUI queues what is valid of it."""
    preview = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    graph = {"1": grey_image(0x070809), "2": preview, "3": grey_image(0, side=-1), "4": save("3")}
    with pytest.raises(RefusedError, match="not all of its outputs can be made.*width") as caught:
        client.run(graph)
    assert set(caught.value.node_errors) == {"3"}
    assert client.run({"1": grey_image(0x070809), "2": preview}).files("2")


def test_a_failing_node_is_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"this is no image")
    name = client.upload_image(tmp_path / "broken.png")
    with pytest.raises(ExecutionError, match="LoadImage") as caught:
        client.run({"7": {"class_type": "LoadImage", "inputs": {"image": name}}, "2": save("7")})
    assert caught.value.node == "7"


def test_an_error_of_the_pack_keeps_its_own_fix(client: Client) -> None:
    graph = {
        "1": {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 8, "height": 8}},
        "2": {"class_type": "CCM_NerveBiomarkers", "inputs": {"mask": ["1", 0], "um_per_px": 0.0}},
    }
    with pytest.raises(ExecutionError) as caught:
        client.run(graph)
    assert str(caught.value).count("Fix: ") == 1
    assert "HRT3" in caught.value.fix


def test_ctrl_c_during_a_run_leaves_a_usable_client(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    def press(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.run({"1": grey_image(0x111213), "2": save("1")}, press)
    gc.collect()
    assert "never retrieved" not in capfd.readouterr().err
    assert "SaveImage" in client.object_info()


def test_a_server_that_is_not_there_is_a_host_error() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(HostError, match="does not answer"):
        client.object_info()
