"""The CCM-nano family from nothing: phantoms in, weight files out, one stage at a time.

    projection -> decoder ──────────┐
               -> base -> assemble ─┴> wdlora, lora
    reader, segmentation

Every stage writes its files under `work` and is skipped when they are there, so that an interrupted run
goes on where it stopped and stages without a common arrow can run side by side. Seeds and step counts are
fixed; they travel in each file's metadata.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...ccm.grain import LIGHT_ONLY
from ...ccm.prompt_encoder import WordTokenizer
from ..config import OptimizerConfig
from . import autoencoder, base, learning
from .dataset import PhantomSet, phantom_set

log = logging.getLogger(__name__)

BASE_FILE = "ccm_nano_base.safetensors"
VAE_FILE = "ccm_nano_vae.safetensors"
CONTROL_FILE = "ccm_nano_control.safetensors"
TEXT_FILE = "ccm_nano_text.safetensors"
PROJECTION_FILE = "projection.safetensors"
READER_FILE = "ccm_nano_reader.safetensors"
SEGMENTATION_FILE = "ccm_nano_segmentation.safetensors"
MODEL_FILE = "model.safetensors"
CONFIG = Path(__file__).parents[1] / "configs" / "nano.toml"
ADAPTER_FILES = {"wdlora": "ccm_nano_wdlora.safetensors", "lora": "ccm_nano_lora.safetensors"}


@dataclass(frozen=True)
class Recipe:
    """Sizes of a whole training; the defaults take about six hours on two CPU cores."""

    generic_pairs: int = 9000
    cohort_pairs: int = 4000
    patients: int = 1000  # of the adapters, with so many frames each
    frames: int = 4
    decoder_generic_pairs: int = 2400
    decoder_cohort_pairs: int = 1600
    decoder_steps: int = 1300
    decoder_edge_steps: int = 150
    base_steps: int = 1100  # at 192 x 192 pixels
    base_steps_full: int = 1300  # at 384 x 384 pixels
    base_steps_alone: int = 2000  # the same, half of them without a mask
    segmentation_steps: int = 4000
    segmentation_steps_steady: int = 2400  # every crop twice
    seed: int = 1


@dataclass(frozen=True)
class Workshop:
    """Where a training writes: `work` holds what can be made again, `out` the finished files."""

    recipe: Recipe
    work: Path
    out: Path

    def generic(self) -> PhantomSet:
        return phantom_set("generic", self.recipe.generic_pairs, self.recipe.seed, self.work)

    def cohort(self) -> PhantomSet:
        return phantom_set("cohort", self.recipe.cohort_pairs, self.recipe.seed + 1, self.work)

    def course(self, stage: str, optimizer: OptimizerConfig, seed: int) -> learning.Course:
        return learning.Course(optimizer, self.work / f"run_{stage}", seed)

    def save(self, path: Path, state: Mapping[str, Tensor], trained: str, **extra: str) -> None:
        """Write a weight file with its metadata, whole or not at all."""
        metadata = {
            "ccm.trained": trained,
            "ccm.recipe": json.dumps(asdict(self.recipe)),
            "ccm.data": "procedural phantoms only; no image of a person",
            "ccm.licence": "GPL-3.0-or-later",
            "ccm.use": "research only, not for clinical use",
            **extra,
        }
        part = path.with_suffix(".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().contiguous() for k, v in state.items()}, part, metadata=metadata)
        part.replace(path)


def projection_stage(shop: Workshop) -> autoencoder.Projection:
    """Fit the encoder's projection to generic frames."""
    path = shop.work / PROJECTION_FILE
    if not path.exists():
        projection = autoencoder.fit_projection(_grey(shop.generic().frames[:4000:8]))
        shop.save(path, {"components": projection.components, "mean": projection.mean}, "projection")
    state = load_file(path)
    return autoencoder.Projection(state["components"], state["mean"])


def decoder_stage(shop: Workshop) -> None:
    """Train the decoder on a mixture of generic and cohort frames, and write the autoencoder in fp16."""
    path, recipe = shop.out / VAE_FILE, shop.recipe
    if path.exists():
        return
    projection = projection_stage(shop)
    sets = (shop.generic(), recipe.decoder_generic_pairs), (shop.cohort(), recipe.decoder_cohort_pairs)
    latents = _project(projection, np.concatenate([pairs.frames[:n] for pairs, n in sets]))
    lights = np.concatenate([pairs.lights[:n] for pairs, n in sets])
    vae = autoencoder.build(projection)
    decoder: Any = vae.get_submodule("taesd_decoder")
    inside = OptimizerConfig(
        learning_rate=2e-3,
        betas=(0.9, 0.98),
        warmup_steps=50,
        steps=recipe.decoder_steps,
        batch=4,
        ema_decay=0.99,
    )
    edge = replace(inside, learning_rate=5e-4, steps=recipe.decoder_edge_steps)
    for part, optimizer, rim_px in (("inside", inside, 4), ("edge", edge, 0)):
        seed = recipe.seed + rim_px
        problem = autoencoder.DecoderProblem(decoder, lights, latents, rim_px, seed, learning.device())
        decoder.load_state_dict(learning.learn(problem, shop.course(f"decoder_{part}", optimizer, seed)))
    autoencoder.share_grey(decoder.cpu()[-1])
    trained = f"decoder {recipe.decoder_steps} steps inside and {recipe.decoder_edge_steps} at the edge"
    shop.save(path, _half(vae.state_dict()), f"autoencoder, {trained}", **{LIGHT_ONLY: "true"})


def _files(shop: Workshop) -> dict[str, Path]:
    """The parts that the adapters are trained on, by their keys in [base]."""
    return {
        "checkpoint": shop.out / BASE_FILE,
        "vae": shop.out / VAE_FILE,
        "text_encoder": shop.out / TEXT_FILE,
        "control_net": shop.out / CONTROL_FILE,
    }


def base_stage(shop: Workshop) -> None:
    """Train base, control net and prompt encoder on generic pairs, small crops first."""
    from .phantoms import vocabulary

    path = shop.work / MODEL_FILE
    if path.exists():
        return
    recipe, words, pairs = shop.recipe, vocabulary(), shop.generic()
    tokenizer = WordTokenizer(words)
    projection = projection_stage(shop)
    data = base.Latents(
        _project(projection, pairs.frames), _project(projection, pairs.masks), tokenizer.batch(pairs.captions)
    )
    torch.manual_seed(recipe.seed)
    model = base.NanoModel(len(words))
    crops = OptimizerConfig(
        learning_rate=1e-3,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        schedule="constant",
        steps=recipe.base_steps,
        batch=16,
        ema_decay=0.998,
    )
    full = replace(crops, learning_rate=7e-4, schedule="cosine", steps=recipe.base_steps_full, batch=8)
    alone = replace(full, learning_rate=5e-4, steps=recipe.base_steps_alone, ema_decay=0.999)
    for part, offset, optimizer, sampling in (
        ("crops", 24, crops, base.Sampling(24, 0.35)),
        ("full", 48, full, base.Sampling(48, 0.35)),
        ("alone", 49, alone, base.Sampling(48, 0.5, level_mean_alone=0.9)),
    ):
        seed = recipe.seed + offset
        problem = base.BaseProblem(model, data, tokenizer, sampling, seed, learning.device())
        learnt = learning.learn(problem, shop.course(f"base_{part}", optimizer, seed))
        model.load_state_dict({**model.state_dict(), **learnt})
    trained = f"{crops.steps} steps at 192 px, {full.steps} at 384 px, and {alone.steps} half without a mask"
    shop.save(path, model.cpu().state_dict(), trained, **{"ccm.words": json.dumps(words)})


def assemble_stage(shop: Workshop) -> None:
    """Write what the host loads, in fp16: base, control net, prompt encoder."""
    with safe_open(shop.work / MODEL_FILE, "pt") as file:
        metadata = file.metadata()
    model = load_file(shop.work / MODEL_FILE)
    parts = {part: _part(model, f"{part}.") for part in ("base", "control", "text")}
    checkpoint = {f"model.diffusion_model.{k}": v for k, v in parts["base"].items()}
    trained = metadata["ccm.trained"]
    shop.save(shop.out / BASE_FILE, _half(checkpoint), f"base {trained}")
    shop.save(
        shop.out / CONTROL_FILE, _half(base.control_to_diffusers(parts["control"])), f"control net {trained}"
    )
    words = {"ccm.words": metadata["ccm.words"]}
    shop.save(shop.out / TEXT_FILE, _half(parts["text"]), f"prompt encoder {trained}", **words)


def wdlora_stage(shop: Workshop) -> None:
    """Train the WDLoRA adapter."""
    _train_adapter(shop, "wdlora")


def lora_stage(shop: Workshop) -> None:
    """Train the plain-LoRA twin: same data, seed, rank and steps."""
    _train_adapter(shop, "lora")


def _train_adapter(shop: Workshop, method: Literal["wdlora", "lora"]) -> None:
    """Train on phantom patients and the assembled files, by the configuration that ships."""
    from ..config import read_config
    from ..data.phantoms import PhantomRequest, write_phantoms
    from ..trainer import LAST, train

    path = shop.out / ADAPTER_FILES[method]
    if path.exists():
        return
    recipe, phantoms, folder = shop.recipe, shop.work / "phantoms", shop.work / f"run_{method}"
    write_phantoms(PhantomRequest(recipe.patients, recipe.frames, recipe.seed + 1), phantoms)
    settings = {f"base.{key}": str(file) for key, file in _files(shop).items()}
    settings |= {"data.path": str(phantoms.resolve()), "adapter.method": method, "run.folder": str(folder)}
    config = read_config(CONFIG, tuple(f"{key}={json.dumps(value)}" for key, value in settings.items()))
    if train(config, resume=True):
        shutil.copyfile(folder / LAST, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)


def reader_stage(shop: Workshop) -> None:
    """Fit the reader of free wording."""
    from ...ccm.prompt_reader import PHRASES
    from .reader import fit_reader

    path = shop.out / READER_FILE
    if path.exists():
        return
    reader = fit_reader(shop.recipe.seed)
    shop.save(
        path,
        {"weight": reader.weight.half(), "bias": reader.bias},
        f"reader of free wording, {len(reader.phrases)} phrases, fitted to a grammar of clinical wordings",
        **{PHRASES: json.dumps(reader.phrases)},
    )


def segmentation_stage(shop: Workshop) -> None:
    """Train the nerve segmentation network on generic and cohort pairs."""
    from ...ccm.segmentation import SegmentationNet
    from .segmentation import Augmentation, SegmentationProblem, SteadyProblem

    path, recipe = shop.out / SEGMENTATION_FILE, shop.recipe
    if path.exists():
        return
    seed, sets = recipe.seed + 2, [shop.generic(), shop.cohort(), shop.cohort()]
    torch.manual_seed(seed)
    net, batch = SegmentationNet(), 12
    for part, kind, steps, rate, crops in (
        ("segmentation", SegmentationProblem, recipe.segmentation_steps, 4e-3, batch),
        ("segmentation_steady", SteadyProblem, recipe.segmentation_steps_steady, 2e-3, batch // 2),
    ):
        problem = kind(net, sets, Augmentation(), seed, learning.device())
        optimizer = OptimizerConfig(
            learning_rate=rate,
            weight_decay=0.01,
            schedule="one-cycle",
            warmup_steps=steps // 10,
            steps=steps,
            batch=crops,
            ema_decay=0.995,
        )
        values = learning.learn(problem, shop.course(part, optimizer, seed))
        net = problem.settle(values, first=steps * crops, batch=crops)
        seed += 1
    trained = (
        f"{recipe.segmentation_steps} steps, {recipe.segmentation_steps_steady} on pairs, {Augmentation()}"
    )
    shop.save(path, _half(net.state_dict()), f"segmentation network, {trained}")


def _grey(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(frames).float() / 255.0


def _project(projection: autoencoder.Projection, frames: np.ndarray) -> Tensor:
    """Latents fp16 [N,16,48,48] of frames uint8 [N,H,W]."""
    return torch.cat([projection.encode(_grey(chunk)).half() for chunk in _chunks(frames)])


def _chunks(frames: np.ndarray, size: int = 64) -> Iterator[np.ndarray]:
    return (frames[i : i + size] for i in range(0, len(frames), size))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.half() for k, v in state.items()}
