"""CCM_LoadFoundation: a foundation model with everything that belongs to it, by the names of its published files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from ..ccm.errors import WeightsError
from ..ccm.foundation import FOLDERS, FOUNDATIONS, Foundation, Weight, find_weights
from .host_loading import load_text_encoder, load_vae

PUBLISHED, NONE = "published", "none"
PRECISIONS = {"default": None, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}


def find_files(base: Foundation, control_net: str) -> dict[str, list[Path]]:
    """Return the files of a base by part; raises WeightsError naming what is missing."""
    weights = [w for w in base.weights if w.part != "control_net" or control_net == PUBLISHED]
    if control_net not in (PUBLISHED, NONE):
        weights.append(Weight("control_net", (control_net,), "your own files"))
    return find_weights(weights, _look, lambda weight: folder_paths.get_folder_paths(FOLDERS[weight.part]))


def _look(weight: Weight, name: str) -> Path | None:
    path = folder_paths.get_full_path(FOLDERS[weight.part], name)
    return Path(path) if path is not None else None


def load(base: Foundation, files: dict[str, list[Path]], precision: str) -> tuple[Any, Any, Any, Any]:
    """Load model, text encoder, autoencoder and control net (None where there is none)."""
    import comfy.controlnet
    import comfy.sd

    options = {} if PRECISIONS[precision] is None else {"dtype": PRECISIONS[precision]}
    if "checkpoint" in files:
        model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(
            str(files["checkpoint"][0]), output_clip="text_encoder" not in files, model_options=options
        )
    else:
        model = comfy.sd.load_diffusion_model(str(files["diffusion_model"][0]), options)
        clip = vae = None
    if "text_encoder" in files:
        clip = load_text_encoder(files["text_encoder"], base.clip_type)
    if "vae" in files:
        vae = load_vae(files["vae"][0])
    nets = [comfy.controlnet.load_controlnet(str(file)) for file in files.get("control_net", [])]
    return model, clip, vae, nets[0] if nets else None


class LoadFoundation(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_LoadFoundation",
            display_name="Load Foundation Model",
            category="CCM/generate",
            description=(
                "Loads a foundation model with its text encoder, autoencoder and control net from the models "
                "folders, by their published names, and says of what is missing where to get it and put it."
            ),
            inputs=[
                io.Combo.Input(
                    "base", options=list(FOUNDATIONS), tooltip="The base model; mind its licence."
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="default",
                    tooltip="How the model's weights are kept; default is as in the file, fp8 takes half of bf16.",
                ),
                io.Combo.Input(
                    "control_net",
                    options=[PUBLISHED, NONE, *folder_paths.get_filename_list("controlnet")],
                    default=PUBLISHED,
                    tooltip="The published one that suits nerve masks, none, or a file of models/controlnet.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The base model, for Load CCM Adapter."),
                io.Clip.Output(
                    display_name="clip", tooltip="Its text encoder, for DPN Prompt or Nerve Mask Reference."
                ),
                io.Vae.Output(display_name="vae", tooltip="Its autoencoder."),
                io.ControlNet.Output(
                    display_name="control_net",
                    tooltip="The control net; Qwen-Image-Edit has none, it takes Nerve Mask Reference.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, base: str | None, control_net: str | None) -> bool | str:
        if base not in FOUNDATIONS or control_net is None:  # linked from another node, or refused by the host
            return True
        try:
            return bool(find_files(FOUNDATIONS[base], control_net))
        except WeightsError as error:
            return str(error)

    @classmethod
    def execute(cls, base: str, precision: str, control_net: str) -> io.NodeOutput:
        files = find_files(FOUNDATIONS[base], control_net)
        return io.NodeOutput(*load(FOUNDATIONS[base], files, precision))
