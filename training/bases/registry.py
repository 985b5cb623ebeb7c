"""Load a base model by the names of its files, through the host's own loaders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...ccm.block_encoder import simplify
from ...ccm.control import MaskStyle
from ...ccm.errors import TrainingError
from ...ccm.foundation import FOLDERS, source_of
from .families import FAMILIES, Family
from .host_base import HostBase

if TYPE_CHECKING:
    from ..config import BaseConfig

DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.float8_e4m3fn,
}


def load_base(config: BaseConfig) -> HostBase:
    """Load the base that the table [base] of a configuration names.

    Files go by their names in the host's model folders, or by path; `nano` without any is the embedded family.
    Raises TrainingError for a family that is unknown or not the checkpoint's, and for a missing file or part.
    """
    from comfy import model_management

    from ...nodes.host_loading import load_text_encoder, load_vae
    from ...nodes.mask_routes import in_style

    facts = _family(config.family)
    paths = _paths(config)
    with torch.inference_mode(False):
        options = _options(config.dtype)
        model, clip, vae = _load_model(paths, options)
        if "text_encoder" in paths:
            clip = load_text_encoder(paths["text_encoder"], facts.clip_type)
        if "vae" in paths:
            vae = load_vae(paths["vae"][0])
        control_net = _load_control_net(paths, options)
        _check(facts, model, clip, vae)
        model_management.unload_all_models()  # from here on the host neither moves nor patches the model
        style, device = MaskStyle(config.mask_style), model_management.get_torch_device()
        net = control_net and in_style(control_net, style)
        base = HostBase(facts, model.model, clip, vae, net, device, style)
        simplify(vae.first_stage_model)  # after the base has taken its fingerprint
        return base


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise TrainingError(f"Unknown base family {name!r}", fix=f"use one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def _paths(config: BaseConfig) -> dict[str, list[Path]]:
    """Return the files by key, each found; the embedded family where `nano` names none."""
    named: dict[str, Any] = {key: getattr(config, key) for key in FOLDERS if getattr(config, key)}
    if config.family == "nano":
        embedded = _embedded()
        if "checkpoint" in named or "diffusion_model" in named:
            del embedded["vae"]  # a model goes with the autoencoder that it was trained with
        named = {**embedded, **named}
    lists = {key: [names] if isinstance(names, (str, Path)) else list(names) for key, names in named.items()}
    return {key: [find_file(name, key) for name in names] for key, names in lists.items()}


def base_file(config: BaseConfig) -> Path | None:
    """Return the file that holds the model of a configuration, or None where it is not there (yet)."""
    named = {"checkpoint": config.checkpoint, "diffusion_model": config.diffusion_model}
    if config.family == "nano" and not any(named.values()):
        return _embedded()["checkpoint"]
    try:
        return next((find_file(name, key) for key, name in named.items() if name), None)
    except TrainingError:
        return None


def _embedded() -> dict[str, Path]:
    from ...nodes.nano import BASE_FILE, CONTROL_FILE, TEXT_FILE, VAE_FILE, WEIGHTS

    return {
        "checkpoint": WEIGHTS / BASE_FILE,
        "control_net": WEIGHTS / CONTROL_FILE,
        "text_encoder": WEIGHTS / TEXT_FILE,
        "vae": WEIGHTS / VAE_FILE,
    }


def find_file(name: str | Path, key: str) -> Path:
    """Return the file that a key of [base] names; the TrainingError lists the folders that were searched."""
    import folder_paths

    found = folder_paths.get_full_path(FOLDERS[key], str(name))
    if found is not None:
        return Path(found)
    if Path(name).expanduser().is_file():
        return Path(name).expanduser()
    folders = ", ".join(folder_paths.get_folder_paths(FOLDERS[key]))
    source = (found := source_of(str(name))) and f" of {found}"
    raise TrainingError(
        f"[base] {key} = {str(name)!r} is neither a file nor in {folders}",
        fix=f"put the file{source} into one of these folders, or give its path in [base] {key}",
    )


def _options(dtype: str) -> dict[str, Any]:
    """Return the host's loading options: `auto` is the host's choice on a GPU and fp32 on a CPU."""
    from comfy import model_management

    if dtype != "auto":
        return {"dtype": DTYPES[dtype]}
    on_cpu = model_management.get_torch_device().type == "cpu"
    return {"dtype": torch.float32} if on_cpu else {}


def _load_model(paths: dict[str, list[Path]], options: dict[str, Any]) -> tuple[Any, Any, Any]:
    import comfy.sd

    if "diffusion_model" in paths:
        return comfy.sd.load_diffusion_model(str(paths["diffusion_model"][0]), options), None, None
    if "checkpoint" not in paths:
        raise TrainingError(
            "[base] names no model", fix="set checkpoint, or diffusion_model with text_encoder and vae"
        )
    loaded = comfy.sd.load_checkpoint_guess_config(
        str(paths["checkpoint"][0]),
        output_vae="vae" not in paths,
        output_clip="text_encoder" not in paths,
        model_options=options,
    )
    return loaded[:3]


def _load_control_net(paths: dict[str, list[Path]], options: dict[str, Any]) -> Any:
    import comfy.controlnet

    if "control_net" not in paths:
        return None
    file = str(paths["control_net"][0])
    net = comfy.controlnet.load_controlnet(file, model_options=options)
    if not isinstance(net, comfy.controlnet.ControlNet):
        raise TrainingError(
            f"{file} holds no control net that can be trained with",
            fix="name a control net of the base's family in [base] control_net",
        )
    return net


def _check(facts: Family, model: Any, clip: Any, vae: Any) -> None:
    have = type(model.model).__name__
    if have != facts.host_class:
        raise TrainingError(
            f"The model file holds a model that the host calls {have}; family {facts.name!r} needs {facts.host_class}",
            fix="correct [base] family, or name another file",
        )
    for part, key in ((clip, "text_encoder"), (getattr(vae, "first_stage_model", None), "vae")):
        if part is None:
            raise TrainingError(f"The model file holds no {key}", fix=f"name one in [base] {key}")
