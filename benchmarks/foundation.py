"""What a training step costs on a foundation model: seconds and peak memory of WDLoRA, PEFT's DoRA and plain LoRA.

The base has random weights of the published sizes where there is a GPU, and of small ones on the CPU, where the
figures only say that the script runs. One sample of 384 x 384 pixels, with the mask as reference latent where the base
takes one, in the trainer's own loop: forward and backward pass through the host's model with checkpointing, AdamW
on fp32 adapters of rank 16. bf16 computes everywhere; the weights are kept in bf16, then in fp8.

seconds_<method>_<weights>: median over the steps. peak_gb_<method>_<weights>: allocated on a GPU, live tensors on the
CPU, weights among them. PEFT's own norm cannot read fp8, which is then said instead of a figure.
computed_gb_<weights>: what `python . train --dry-run --memory` computes for the same.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..ccm.errors import TrainingError
from ..host import locate
from ..training.bases.sizes import SIZES, Size
from ..training.config import AdapterConfig, ObjectiveConfig, TrainConfig, parse_config

METHODS = {"wdlora": ("wdlora", "factored"), "peft_dora": ("wdlora", "peft"), "lora": ("lora", "factored")}
DTYPES = {"bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
SIDE = 384 // 8
_NARROW = {"model_channels": 64, "context_dim": 256}
_QWEN = {
    "num_layers": 2,
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "axes_dims_rope": (8, 28, 28),
    "joint_attention_dim": 256,
}
SMALL: dict[str, dict[str, Any]] = {
    "sd15": _NARROW,
    "sdxl": {**_NARROW, "adm_in_channels": 2816},
    "sd35": {
        "depth": 4,
        "context_embedder_config": {
            "target": "torch.nn.Linear",
            "params": {"in_features": 256, "out_features": 256},
        },
    },
    "flux": {
        "hidden_size": 256,
        "num_heads": 4,
        "axes_dim": [8, 28, 28],
        "depth": 2,
        "depth_single_blocks": 2,
        "context_in_dim": 256,
    },
    "qwen-image": _QWEN,
    "qwen-image-edit": _QWEN,
}


def main(arguments: list[str]) -> int:
    """Measure, print a table, and print all figures as JSON on the last line."""
    options = parse(arguments)
    os.environ.setdefault("COMFYUI_PATH", str(locate.ready(Path(sys.executable))))
    from ..training.bases.host_modules import import_host

    import_host()
    gpu = torch.cuda.is_available()
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads",
        "family": options.family,
        "size": "published" if gpu else "small",
        "torch": torch.__version__,
    }
    print(found, flush=True)
    for dtype in DTYPES:
        for method in METHODS:
            found |= measured(options, method, dtype, gpu)
        if gpu:
            found[f"computed_gb_{dtype}"] = computed(options.family, dtype)
    print(json.dumps(found))
    return 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python . bench foundation", description="Measure a training step.")
    parser.add_argument("--family", choices=list(SIZES), default="qwen-image-edit", help="which base")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed, after two (default: 5)")
    return parser.parse_args(arguments)


def measured(options: Namespace, method: str, dtype: str, gpu: bool) -> dict[str, Any]:
    """Return the figures of one method on weights of one type, under their names."""
    key = f"{method}_{dtype}"
    try:
        seconds, peak = run(options, method, dtype, torch.device("cuda" if gpu else "cpu"))
    except TrainingError as error:
        print(f"{key:16} refused: {error.problem}", flush=True)
        return {f"refused_{key}": error.problem}
    print(f"{key:16} {seconds:8.3f} s a step   {peak / 1e9:8.3f} GB at the peak", flush=True)
    return {f"seconds_{key}": round(seconds, 4), f"peak_gb_{key}": round(peak / 1e9, 4)}


def run(options: Namespace, method: str, dtype: str, device: torch.device) -> tuple[float, int]:
    """Return the median seconds of a step and the peak bytes of all of them."""
    from ..training.blocks import find_blocks, lean
    from ..training.layers import inject
    from ..training.memory import peak_memory

    base = build(options.family, DTYPES[dtype], device)
    kind, norm = METHODS[method]
    adapter = AdapterConfig(method=kind, norm=norm, targets=base.targets)  # pyright: ignore[reportArgumentType]
    blocks = find_blocks(base.network, base.blocks)
    with inject(base.network, adapter, 0) as injected, lean(blocks, [], device):
        optimizer = torch.optim.AdamW(injected.trainable, lr=1e-4)
        times = []
        with peak_memory(device) as meter:
            for _ in range(2):
                step(base, injected, optimizer, device)
        for _ in range(options.steps):
            began = time.perf_counter()
            step(base, injected, optimizer, device)
            times.append(time.perf_counter() - began)
    del base, injected, optimizer
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return statistics.median(times), meter.peak


def step(base: Any, injected: Any, optimizer: Any, device: torch.device) -> None:
    """Do one optimizer step on one random sample, as the trainer does."""
    from ..training import objective

    batch = sample(base).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        loss = objective.loss(base, batch, ObjectiveConfig()).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    injected.refresh()
    if device.type == "cuda":
        torch.cuda.synchronize()


def sample(base: Any) -> Any:
    """Return a batch of one random sample with the sizes of a clinical prompt and a mask."""
    from ..training.bases import Condition
    from ..training.plan import context_width
    from ..training.prepare import Batch

    size, config = SIZES[base.family], base.model.model_config.unet_config
    film = (1,) if base.family.startswith("qwen") else ()
    channels = 16 if film else config["in_channels"]
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(1, channels, *film, SIDE, SIDE, generator=draw)
    prompt = {"cross_attn": torch.randn(1, size.text[0], context_width(base.network), generator=draw)}
    pooled = config.get("adm_in_channels") or config.get("vec_in_dim")
    if pooled:
        sizes = 6 * 256 if base.family == "sdxl" else 0  # which the host adds to the pooled prompt
        prompt["pooled_output"] = torch.randn(1, pooled - sizes, generator=draw)
    mask = {"reference_latents": latents.clone()} if base.facts.mask == "reference" else {}
    return Batch(latents, Condition((prompt,), (mask,)), torch.zeros(1, SIDE, SIDE), torch.zeros(1).long())


def build(family: str, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a base with random weights: of the published size on a GPU, a small one on the CPU."""
    from comfy import supported_models

    from ..training.bases.families import FAMILIES
    from ..training.bases.host_base import HostBase

    size: Size = SIZES[family] if device.type == "cuda" else small(family)
    config = getattr(supported_models, size.model)(dict(size.shape))
    config.set_inference_dtype(dtype, None if dtype is torch.bfloat16 else torch.bfloat16)
    model = config.get_model({}, "", device=device)
    draw = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, weight in model.diffusion_model.named_parameters():
            value = torch.ones_like(weight, dtype=torch.bfloat16)
            if weight.dim() > 1:
                value.normal_(0, weight[0].numel() ** -0.5, generator=draw)
            elif name.endswith("bias"):
                value.zero_()
            weight.copy_(value)
    base = HostBase(FAMILIES[family], model, None, _Pixels(), None, device)
    model.to(device)
    return base


def small(family: str) -> Size:
    return replace(SIZES[family], shape={**SIZES[family].shape, **SMALL[family]})


class _Pixels:
    """Stands for an autoencoder, of which only the scale is asked."""

    def spacial_compression_encode(self) -> int:
        return 8


def computed(family: str, dtype: str) -> float:
    """Return what the trainer computes for the same training, in GB."""
    from ..training.plan import plan

    tables = {
        "base": {"family": family, "dtype": dtype},
        "data": {"path": "."},
        "run": {"folder": "."},
        "memory": {"checkpointing": True},
    }
    config: TrainConfig = parse_config(tables)
    return round(plan(config).total / 1e9, 3)
