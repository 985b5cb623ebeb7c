"""Frames made by a real ComfyUI, each kept under the hash of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from ...batch.client import Client, Graph
from ...ccm.cohorts import NEGATIVE_PROMPT
from ...host.paths import OUTPUT, ROOT

FOLDER = OUTPUT / "bench" / "nano"
CODE = (
    "nodes/nano*.py",
    "nodes/host_loading.py",
    "ccm/guidance.py",
    "nodes/*adapter.py",
    "nodes/conditioning.py",
    "ccm/adapter/*.py",
    "ccm/grain.py",
    "ccm/prompt_*.py",
    "ccm/images.py",
)
SIZE_PX = 384


@dataclass(frozen=True)
class Sampling:
    """Settings of the host's KSampler."""

    steps: int
    cfg: float
    sampler: str
    scheduler: str

    def __str__(self) -> str:
        return f"{self.steps} steps, guidance {self.cfg:g}, {self.sampler} {self.scheduler}"


STANDARD = Sampling(12, 1.5, "dpmpp_2m", "beta")
FEW_STEPS = Sampling(8, 1.0, "dpmpp_2m", "beta")


@dataclass(frozen=True)
class Wish:
    """A frame to be made; without a mask the base draws alone, without an adapter it is raw."""

    prompt: str
    seed: int
    mask: Path | None
    sampling: Sampling = STANDARD
    adapter: str | None = "wdlora"


@dataclass(frozen=True)
class Frame:
    """A frame in 0..1, float32 [H,W], and where it lies."""

    path: Path
    grey: np.ndarray


class Studio:
    """Makes frames, one at a time, and keeps them; a bench that was stopped goes on where it was."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.folder = FOLDER / "frames" / _fingerprint()
        for other in self.folder.parent.glob("*"):
            if other != self.folder:  # of other weights or other code
                shutil.rmtree(other, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def frames(self, wishes: Sequence[Wish], label: str) -> list[Frame]:
        """Make those that are not there yet, under a progress bar."""
        from tqdm import tqdm

        return [self._frame(wish) for wish in tqdm(wishes, desc=label, unit="frame")]

    def seconds(self, wish: Wish) -> float:
        """How long the server works on a frame, made afresh."""
        return self.client.run(self._graph(wish)).seconds

    def _frame(self, wish: Wish) -> Frame:
        path = self.folder / f"{_digest(wish)}.png"
        if not path.exists():
            outputs = self.client.run(self._graph(wish))
            part = path.with_suffix(".part")
            part.write_bytes(self.client.fetch(outputs.files("saved")[0]))
            part.replace(path)
        return Frame(path, read_grey(path.read_bytes()).astype(np.float32) / 255)

    def _graph(self, wish: Wish) -> Graph:
        graph = frame_graph(wish)
        if wish.mask is not None:
            graph["mask"]["inputs"]["image"] = self.client.upload_image(wish.mask)
        return graph


def frame_graph(wish: Wish) -> Graph:
    """The graph of one frame; its mask is still to be named."""
    sampling, guide = wish.sampling, ["positive", "negative"]
    graph: Graph = {
        "nano": _node("CCM_LoadNano"),
        "positive": _node("CLIPTextEncode", text=wish.prompt, clip=["nano", 1]),
        "negative": _node("CLIPTextEncode", text=NEGATIVE_PROMPT, clip=["nano", 1]),
        "latent": _node("EmptySD3LatentImage", width=SIZE_PX, height=SIZE_PX, batch_size=1),
        "decode": _node("VAEDecode", samples=["sample", 0], vae=["nano", 2]),
        "saved": _node("PreviewImage", images=["decode", 0]),
    }
    model = ["nano", 0]
    if wish.adapter:
        adapter = f"embedded: {wish.adapter}"
        graph["adapter"] = _node("CCM_LoadAdapter", model=model, adapter=adapter, strength=1.0)
        model = ["adapter", 0]
    ends = [[guide[0], 0], [guide[1], 0]]
    if wish.mask is not None:
        graph["mask"] = _node("LoadImageMask", image="", channel="red")
        graph["control"] = _node(
            "CCM_ApplyNerveMaskControl", positive=ends[0], negative=ends[1], control_net=["nano", 3],
            mask=["mask", 0], vae=["nano", 2], latent=["latent", 0], strength=1.0, start=0.0, end=1.0,
        )  # fmt: skip
        ends = [["control", 0], ["control", 1]]
    graph["sample"] = _node(
        "KSampler", model=model, positive=ends[0], negative=ends[1], latent_image=["latent", 0],
        seed=wish.seed, steps=sampling.steps, cfg=sampling.cfg, sampler_name=sampling.sampler,
        scheduler=sampling.scheduler, denoise=1.0,
    )  # fmt: skip
    return graph


def _node(kind: str, **inputs: object) -> dict[str, object]:
    return {"class_type": kind, "inputs": inputs}


def read_grey(data: bytes) -> np.ndarray:
    """Decode a PNG into grey, uint8 [H,W]."""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(data)).convert("L"))


def _digest(wish: Wish) -> str:
    mask = b"" if wish.mask is None else wish.mask.read_bytes()
    return hashlib.sha256(json.dumps(frame_graph(wish)).encode() + mask).hexdigest()[:20]


def _fingerprint() -> str:
    """Hash the weights and the code that frames come from."""
    files = [*(ROOT / "weights").glob("*.safetensors"), *(f for glob in CODE for f in ROOT.glob(glob))]
    found = hashlib.sha256()
    for file in sorted(files):
        found.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:12]
