"""The configuration of a training run: what every key means, its default, and what it may be.

A configuration is a TOML file with one table for each dataclass below. Each key documents itself, so that the
reader of a file, the error messages and docs/training.md say the same.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..ccm.documented import Reader, dump_toml, key, read_tables, typed
from ..ccm.errors import TrainingError

FAMILIES = ("nano", "sd15", "sdxl", "sd35", "flux", "qwen-image", "qwen-image-edit")
Family = Literal["nano", "sd15", "sdxl", "sd35", "flux", "qwen-image", "qwen-image-edit"]


@dataclass(frozen=True)
class BaseConfig:
    """The model that is adapted."""

    family: Family = key("which kind of model it is")
    checkpoint: str = key("one file with everything; a name in models/checkpoints or a path", "")
    diffusion_model: str = key("the diffusion model alone; a name in models/diffusion_models or a path", "")
    text_encoder: tuple[str, ...] = key(
        "text encoder, or several; names in models/text_encoders or paths", ()
    )
    vae: str = key("autoencoder; a name in models/vae or a path", "")
    control_net: str = key("control net that takes the nerve mask; a name in models/controlnet or a path", "")
    mask_style: Literal["nerve mask", "scribble", "soft edge", "canny", "segmentation"] = key(
        "the drawing of the mask that the control net was trained on", "nerve mask"
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16", "fp8"] = key(
        "type of the frozen weights; auto is the file's own on a GPU and fp32 on a CPU", "auto"
    )


@dataclass(frozen=True)
class DataConfig:
    """Frames, masks, and what is drawn from them."""

    path: str = key("a folder or a .csv table; relative to the configuration file")
    layout: str = key("how the folder is laid out; auto finds it out", "auto")
    um_per_px: float | None = key("pixel size in um, where the data set does not say", None, 1e-3, 100)
    fractions: tuple[float, ...] = key(
        "shares of the patients for training, validation and test", (0.8, 0.1, 0.1), 0, 1
    )
    crop_px: int | None = key("side of random square crops in pixels; without it, whole frames", None, 16)
    flips: bool = key("flip and turn by 90 degrees at random, frame and mask alike", True)
    caption_drop: float = key("share of samples with the empty prompt", 0.1, 0, 1)
    control_drop: float = key("share of samples without the mask", 0.0, 0, 1)
    balanced: bool = key("draw every cohort equally often", True)


@dataclass(frozen=True)
class AdapterConfig:
    """The layers that are trained."""

    method: Literal["wdlora", "lora", "rslora"] = key(
        "wdlora (DoRA), lora, or rslora (scaled by the root of the rank)", "wdlora"
    )
    rank: int = key("rank of B A", 16, 1, 4096)
    alpha: float = key("s = alpha / rank multiplies B A (rslora: alpha / sqrt(rank))", 16.0, 1e-6)
    targets: str = key(
        "regular expression over the host's module names, matched as a whole; empty: the family's own", ""
    )
    norm: Literal["factored", "peft"] = key(
        "how wdlora computes its norms: from the factors, or as PEFT does, slower", "factored"
    )


@dataclass(frozen=True)
class ControlConfig:
    """The control net that is trained with run.kind = "control"."""

    blocks: int = key("blocks of the base that it begins with; sd15 and sdxl take the whole encoder", 4, 1)


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised."""

    noise_level: Literal["uniform", "logit-normal", "shifted"] = key(
        "how noise levels are drawn: uniform, sigmoid of a normal, or uniform and then shifted",
        "logit-normal",
    )
    mean: float = key("mean of the normal of logit-normal; above 0 is more noise", 0.0, -10, 10)
    std: float = key("standard deviation of the normal of logit-normal", 1.0, 1e-3, 10)
    shift: float = key("shift s of shifted: u -> s u / (1 + (s - 1) u)", 3.0, 1e-2, 100)
    min_snr_gamma: float | None = key(
        "gamma of min-SNR weighting, epsilon and v models only; without it, none", None, 1e-3
    )
    nerve_weight: float = key("extra weight of a latent pixel full of nerve, before normalisation", 0.0, 0)


@dataclass(frozen=True)
class OptimizerConfig:
    """How it is minimised."""

    name: Literal["adamw", "adamw8bit"] = key("adamw, or adamw8bit of bitsandbytes", "adamw")
    learning_rate: float = key("highest learning rate", 1e-4, 0, 1)
    weight_decay: float = key("decoupled weight decay", 0.0, 0, 1)
    betas: tuple[float, ...] = key(
        "decay of the two moments; one-cycle moves the first between 0.85 and 0.95", (0.9, 0.999), 0, 1
    )
    schedule: Literal["constant", "cosine", "one-cycle"] = key("course of the learning rate", "cosine")
    warmup_steps: int = key("steps until the learning rate is at its highest", 100, 0)
    steps: int = key("optimizer steps of the run", 2000, 1)
    batch: int = key("samples of one forward pass, the micro-batch", 1, 1)
    accumulation: int = key("micro-batches of one optimizer step; batch x accumulation samples", 1, 1)
    clip_norm: float = key("largest norm of the gradient; 0 leaves it as it is", 1.0, 0)
    ema_decay: float = key(
        "decay of the averaged adapter that is validated and exported; 0: none", 0.0, 0, 0.99999
    )


@dataclass(frozen=True)
class MemoryConfig:
    """What trades speed for memory."""

    autocast: Literal["auto", "bf16", "off"] = key(
        "compute in bf16, adapters stay in fp32; auto: where the device has bf16 in hardware", "auto"
    )
    checkpointing: bool = key("compute the activations of each block again in the backward pass", False)
    offload_blocks: int = key(
        "so many of the last blocks keep their frozen weights in main memory; implies checkpointing of them",
        0,
        0,
    )


@dataclass(frozen=True)
class ValidationConfig:
    """Generated frames of held-out patients."""

    every: int = key("optimizer steps between validations; 0: none", 0, 0)
    frames: int = key("how many held-out frames", 8, 1)
    steps: int = key("sampling steps of a frame", 20, 1, 1000)
    guidance: float = key("classifier-free guidance scale", 4.0, 0, 100)
    criterion: str = key("min or max, and the number that tells the best checkpoint", "max adherence_f1")


@dataclass(frozen=True)
class CheckpointConfig:
    """What a killed run goes on from."""

    every: int = key("optimizer steps between checkpoints", 100, 1)
    keep_last: int = key("how many are kept, the best one besides", 2, 1)


@dataclass(frozen=True)
class RunConfig:
    """Where and how it runs."""

    folder: str = key("folder of the run; relative to where the command is typed")
    kind: Literal["adapter", "control"] = key(
        "what is trained: an adapter, or a control net that takes nerve masks", "adapter"
    )
    seed: int = key("fixes every sample, its noise, and the adapter's first values", 0, 0, 2**63 - 1)
    device: str = key("auto, cpu, cuda or cuda:N", "auto")
    tensorboard: bool = key("write TensorBoard events too", False)
    licence: str = key("licence of the adapter, written into its file; the base's and the data's bind it", "")


@dataclass(frozen=True)
class TrainConfig:
    """A whole configuration; each field is a TOML table."""

    base: BaseConfig
    data: DataConfig
    run: RunConfig
    adapter: AdapterConfig = AdapterConfig()
    control: ControlConfig = ControlConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    memory: MemoryConfig = MemoryConfig()
    validation: ValidationConfig = ValidationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @property
    def effective_batch(self) -> int:
        """Samples of one optimizer step, over all processes together."""
        return self.optimizer.batch * self.optimizer.accumulation


def read_config(path: Path | str, settings: tuple[str, ...] = ()) -> TrainConfig:
    """Read a TOML file; each setting "table.key=value" replaces a key. A relative data.path starts at the file.

    Raises TrainingError naming the file, the key, and the nearest key that exists.
    """
    path = Path(path)
    tables = read_tables(path, settings, TrainingError, "copy one of training/configs and edit it")
    config = parse_config(tables, str(path))
    data = Path(config.data.path)
    return (
        config
        if data.is_absolute()
        else replace(config, data=replace(config.data, path=str(path.parent / data)))
    )


def parse_config(tables: Mapping[str, Any], source: str = "the configuration") -> TrainConfig:
    """Return the checked configuration of nested tables; raises TrainingError naming `source` and the key."""
    reader = Reader(source, TrainingError)
    known = {f.name: kind for f, kind in typed(TrainConfig)}
    reader.known_only(tables, known, source, "table")
    parsed = {name: reader.section(kind, tables.get(name, {}), name) for name, kind in known.items()}
    config = TrainConfig(**parsed)
    _check(config, source)
    return config


def to_tables(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """Nested tables of JSON values; keys that are not set are left out, as TOML knows no null."""
    tables = json.loads(json.dumps(asdict(config)))
    return {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()}


def to_toml(config: TrainConfig) -> str:
    """Write a configuration so that `read_config` gives it back."""
    return dump_toml(to_tables(config))


def _check(config: TrainConfig, source: str) -> None:
    """What one key alone cannot tell."""
    data, optimizer = config.data, config.optimizer
    problems = {
        "data.fractions": (
            len(data.fractions) != 3 or not math.isclose(sum(data.fractions), 1, abs_tol=1e-6),
            "three numbers that add up to 1, for training, validation and test",
        ),
        "optimizer.betas": (
            len(optimizer.betas) != 2 or max(optimizer.betas) >= 1,
            "two numbers below 1",
        ),
        "optimizer.warmup_steps": (
            optimizer.warmup_steps > optimizer.steps,
            f"at most optimizer.steps, {optimizer.steps}",
        ),
        "validation.criterion": (
            config.validation.criterion.split(" ")[0] not in ("min", "max")
            or len(config.validation.criterion.split(" ")) != 2,
            'min or max and the name of a number, as in "max adherence_f1"',
        ),
        "data.control_drop": (
            config.run.kind == "control" and data.control_drop > 0,
            'no more than 0 with run.kind = "control", which learns from masks only',
        ),
        "adapter.targets": (not _is_expression(config.adapter.targets), "a regular expression"),
    }
    for name, (is_wrong, expected) in problems.items():
        if is_wrong:
            table, _, child = name.partition(".")
            value = getattr(getattr(config, table), child)
            raise TrainingError(f"{source}: {name} is {value!r}, expected {expected}", fix="correct it")


def _is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
