"""How much memory of a GPU a training will need, computed from sizes alone: no weight is read, no step is done.

The base is built on PyTorch's meta device, where tensors have shapes and no values, and one pass through it counts
what its linear layers and convolutions take in and give out. What a backward pass keeps is a multiple of that, as
measured on small models of every family (tests/host/training/test_plan.py compares them). Weights, adapter and
optimizer are exact.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..ccm.errors import TrainingError
from ..ccm.images import FIELD_PX
from .bases.families import FAMILIES
from .bases.host_modules import import_host, pytorch_attention
from .bases.sizes import SIZES, Size
from .blocks import find_blocks
from .config import TrainConfig
from .layers.injection import find_targets

META = torch.device("meta")
GIB = 2**30  # cards are sold by these
RESERVE = 1.0e9  # bytes: the driver's context, and what the allocator cannot use
KEPT = {"unet": 2.0, "transformer": 3.0}  # bytes kept for the backward pass over bytes in and out of layers
ACTIVATION = 2  # bytes of a value under autocast
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "auto": 2}
LATENT_PX = 8


@dataclass(frozen=True)
class Plan:
    """Bytes by what needs them, on the GPU; `main_memory` is what offloaded blocks take beside it."""

    base: float
    control_net: float
    trained: float
    activations: float
    main_memory: float

    @property
    def total(self) -> float:
        return self.base + self.control_net + self.trained + self.activations + RESERVE

    def __str__(self) -> str:
        parts = {
            "base": self.base,
            "control net": self.control_net,
            "what is trained": self.trained,
            "activations": self.activations,
            "driver": RESERVE,
        }
        listed = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items() if size)
        beside = f"; in main memory {self.main_memory / 1e9:.1f} GB" if self.main_memory else ""
        return f"{self.total / 1e9:.1f} GB computed for the GPU ({listed}){beside}"


@dataclass(frozen=True)
class Outline:
    """A base in numbers: parameters in all and of each block, and values through the layers of one sample's pass.

    `flow` and `inputs` are of each block, what goes through its layers and what goes into it; `around` is the flow
    outside of blocks; `operations` are those of all layers in one pass, a multiplication and an addition being two.
    """

    parameters: int
    blocks: tuple[int, ...]
    flow: tuple[int, ...]
    inputs: tuple[int, ...]
    around: int
    operations: int
    adapter: int
    kind: str


def plan(config: TrainConfig) -> Plan:
    """Compute the memory that a training needs on a GPU."""
    base, optimizer = config.base, config.optimizer
    outline, width = _outline(config), BYTES[base.dtype]
    offloaded = sum(outline.blocks[_first_offloaded(outline, config) :])
    size = SIZES.get(base.family)
    own = _own_blocks(outline, config)
    state = (2 if optimizer.name == "adamw8bit" else 8) + 8 + (4 if optimizer.ema_decay else 0)
    return Plan(
        base=(outline.parameters - offloaded) * width,
        control_net=size.control_net * width if size and base.control_net else 0.0,
        trained=(sum(outline.blocks[own]) if config.run.kind == "control" else outline.adapter) * state,
        activations=_activations(outline, config, width),
        main_memory=offloaded * width,
    )


def _first_offloaded(outline: Outline, config: TrainConfig) -> int:
    return max(0, len(outline.blocks) - config.memory.offload_blocks)


def _own_blocks(outline: Outline, config: TrainConfig) -> slice:
    """Return the blocks of which a control net that is trained has a copy: those of the encoder, or the first ones."""
    count = 0 if config.run.kind == "adapter" else config.control.blocks
    return slice(0, len(outline.blocks) // 2 if count and outline.kind == "unet" else count)


def work(config: TrainConfig) -> float:
    """Return the operations of one optimizer step.

    Forward, and backward to the inputs only, as the base is frozen; forward once more with checkpointing.
    """
    passes = 3 if config.memory.checkpointing else 2
    return passes * _outline(config).operations * config.effective_batch


def _activations(outline: Outline, config: TrainConfig, width: int) -> float:
    """Bytes that a backward pass finds at its peak: of all blocks, or of the largest and the inputs of all."""
    memory, batch = config.memory, config.optimizer.batch
    split = 0 if memory.checkpointing else _first_offloaded(outline, config)
    own = sum(outline.flow[_own_blocks(outline, config)])
    kept = sum(outline.flow[:split]) + max(outline.flow[split:], default=0) + outline.around + own
    casts = sum(outline.blocks[:split]) + max(outline.blocks[split:], default=0) if width < ACTIVATION else 0
    fetched = max(outline.blocks[split:], default=0) * width if memory.offload_blocks else 0
    through = KEPT[outline.kind] * kept + sum(outline.inputs[split:])
    return batch * ACTIVATION * through + ACTIVATION * casts + fetched


def _outline(config: TrainConfig) -> Outline:
    adapter = config.adapter
    return _measured(
        config.base.family,
        _file(config),
        config.data.crop_px or FIELD_PX,
        adapter.targets,
        adapter.rank,
        adapter.method == "wdlora",
    )


def _file(config: TrainConfig) -> Path | None:
    """Return the file of the model where it is there, to read its sizes off; else those published count."""
    from .bases.registry import base_file

    return base_file(config.base)


@lru_cache(maxsize=16)
def _measured(family: str, file: Path | None, side_px: int, targets: str, rank: int, dora: bool) -> Outline:
    from .config import AdapterConfig

    import_host()
    facts = FAMILIES[family]
    model = _published(family) if file is None else _of_file(file)
    network = model.diffusion_model.requires_grad_(False)
    chosen = find_targets(network, AdapterConfig(targets=targets or facts.targets, rank=1))
    blocks = find_blocks(network, facts.blocks)
    flow, inputs, around, operations = _pass(network, blocks, _arguments(model, family, side_px))
    return Outline(
        sum(p.numel() for p in network.parameters()),
        tuple(sum(p.numel() for p in block.parameters()) for block in blocks),
        flow,
        inputs,
        around,
        operations,
        sum(_adapter(module, rank, dora) for module in chosen.values()),
        "unet" if facts.blocks.startswith("((in|out)put") else "transformer",
    )


def _published(family: str) -> Any:
    from comfy import supported_models

    if family not in SIZES:
        raise TrainingError(
            f"The sizes of family {family!r} are those of its file", fix="name a file in [base]"
        )
    size = SIZES[family]
    config = getattr(supported_models, size.model)(dict(size.shape))
    config.set_inference_dtype(torch.bfloat16, None)
    return config.get_model({}, "", device=META)


def _of_file(file: Path) -> Any:
    """Build the model of a file from the shapes in its header."""
    from .host_names import outline_model

    return outline_model(file)


def _adapter(module: Any, rank: int, dora: bool) -> int:
    out, *into = module.weight.shape
    fan_in = torch.Size(into).numel()
    return rank * (out + fan_in) + (out if dora else 0)


@torch.no_grad()
def _pass(
    network: nn.Module, blocks: list[nn.Module], arguments: dict[str, Any]
) -> tuple[tuple[int, ...], tuple[int, ...], int, int]:
    """Return values through the layers of each block, into each block, through the layers outside, and operations."""
    flow, inputs = dict.fromkeys(blocks, 0), dict.fromkeys(blocks, 0)
    inside: list[nn.Module] = []
    around = operations = 0

    def enter(block: nn.Module, args: Any, kwargs: Any) -> None:
        inside.append(block)
        inputs[block] = sum(t.numel() for t in _tensors((args, kwargs)))

    def leave(block: nn.Module, *_: Any) -> None:
        inside.pop()

    def count(layer: Any, given: Any, got: Tensor) -> None:
        nonlocal around, operations
        size = given[0].numel() + got.numel()
        operations += 2 * got.numel() * layer.weight[0].numel()
        if inside:
            flow[inside[-1]] += size
        else:
            around += size

    handles = [b.register_forward_pre_hook(enter, with_kwargs=True) for b in blocks]
    handles += [b.register_forward_hook(leave) for b in blocks]
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    handles += [m.register_forward_hook(count) for m in layers]
    try:
        network(**arguments)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(flow.values()), tuple(inputs.values()), around, operations


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name != "transformer_options":
                yield from _tensors(item)


def _arguments(model: Any, family: str, side_px: int) -> dict[str, Any]:
    """Return what one sample's pass through the network is called with, on the meta device."""
    size: Size | None = SIZES.get(family)
    tokens = size.text[0] if size else 77
    config, side = model.model_config.unet_config, side_px // LATENT_PX
    film = (1,) if family.startswith("qwen") else ()
    dtype = model.get_dtype()

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device=META, dtype=dtype)

    channels = 16 if film else config["in_channels"]
    arguments: dict[str, Any] = {
        "x": empty(1, channels, *film, side, side),
        "context": empty(1, tokens, context_width(model.diffusion_model)),
        "transformer_options": {"optimized_attention_override": pytorch_attention},
    }
    name = "timestep" if family in ("flux", "qwen-image", "qwen-image-edit") else "timesteps"
    arguments[name] = torch.empty(1, device=META)
    pooled = config.get("adm_in_channels") or config.get("vec_in_dim")
    if pooled:
        arguments["y"] = empty(1, pooled)
    if config.get("guidance_embed"):
        arguments["guidance"] = torch.empty(1, device=META)
    if family == "qwen-image-edit":
        arguments["ref_latents"] = [empty(1, channels, *film, side, side)]
    return arguments


def context_width(network: Any) -> int:
    for name in ("txt_in", "context_embedder"):
        if hasattr(network, name):
            return getattr(network, name).in_features
    widths = (m.in_features for name, m in network.named_modules() if name.endswith("attn2.to_k"))
    return next(widths)


Setting = tuple[str, str, Any]  # table, key and value


def check_fits(config: TrainConfig, memory_gib: float) -> Plan:
    """Return the plan; raises TrainingError naming the settings that would fit, or that none do."""
    found, limit = plan(config), memory_gib * GIB
    if found.total <= limit:
        return found
    settings = _leaner(config)
    fitting = _fitting(config, settings, limit)
    problem = f"The training needs {found}, and the GPU has {limit / 1e9:.1f} GB"
    if fitting is None:
        raise TrainingError(
            problem, fix=f"even with {_named(settings)} it does not fit: take a smaller base, or a larger GPU"
        )
    need = plan(_with(config, fitting)).total
    raise TrainingError(problem, fix=f"with {_named(fitting)} it needs {need / 1e9:.1f} GB")


def _leaner(config: TrainConfig) -> list[Setting]:
    """Return the settings that need less memory than those of the configuration, the cheap ones first."""
    blocks, samples = len(_outline(config).blocks), config.effective_batch
    settings: list[Setting] = [
        ("memory", "checkpointing", True),
        ("optimizer", "batch", 1),
        ("optimizer", "accumulation", samples),
        ("optimizer", "name", "adamw8bit"),
        ("base", "dtype", "fp8"),
        ("memory", "offload_blocks", blocks),
    ]
    return [(table, key, v) for table, key, v in settings if getattr(getattr(config, table), key) != v]


def _fitting(config: TrainConfig, settings: list[Setting], limit: float) -> list[Setting] | None:
    """Return the first of the settings that together fit, without those that are not needed, or None."""

    def fits(chosen: list[Setting]) -> bool:
        return plan(_with(config, chosen)).total <= limit

    count = next((n for n in range(1, len(settings) + 1) if fits(settings[:n])), None)
    if count is None:
        return None
    chosen = settings[:count]
    if chosen[-1][1] == "offload_blocks":
        *others, (table, key, most) = chosen
        least = next(n for n in range(most + 1) if fits([*others, (table, key, n)]))
        chosen = [*others, (table, key, least)]
    for setting in chosen[:-1]:
        fewer = [other for other in chosen if other is not setting]
        if setting[1] != "accumulation" and fits(fewer):
            chosen = fewer
    batch = any(key == "batch" for _, key, _ in chosen)
    return [setting for setting in chosen if batch or setting[1] != "accumulation"]


def _with(config: TrainConfig, settings: list[Setting]) -> TrainConfig:
    for table, key, value in settings:
        config = replace(config, **{table: replace(getattr(config, table), **{key: value})})
    return config


def _named(settings: list[Setting]) -> str:
    return ", ".join(f"{table}.{key} = {json.dumps(value)}" for table, key, value in settings)
