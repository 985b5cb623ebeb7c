"""Loader of the embedded model family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..ccm.block_encoder import simplify
from ..ccm.errors import WeightsError
from ..ccm.guidance import GUIDED_BELOW
from .host_loading import load_vae
from .newer_hosts import search_aliases

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
BASE_FILE = "ccm_nano_base.safetensors"
VAE_FILE = "ccm_nano_vae.safetensors"
CONTROL_FILE = "ccm_nano_control.safetensors"
TEXT_FILE = "ccm_nano_text.safetensors"


class LoadNano(io.ComfyNode):
    """CCM_LoadNano."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CCM_LoadNano",
            display_name="Load CCM Nano",
            category="CCM/generate",
            description=(
                "Loads the embedded CCM-nano family: base model, prompt encoder, autoencoder and nerve-mask "
                "control net. Trained on procedural phantoms only; not for clinical use."
            ),
            **search_aliases("cornea", "corneal confocal microscopy", "checkpoint"),
            inputs=[],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="Base model. Add the WDLoRA adapter with Load CCM Adapter."
                ),
                io.Clip.Output(
                    display_name="clip", tooltip="Prompt encoder for DPN Prompt or CLIP Text Encode."
                ),
                io.Vae.Output(
                    display_name="vae", tooltip="Autoencoder: 8 x 8 pixels to one of 16 latent channels."
                ),
                io.ControlNet.Output(display_name="control_net", tooltip="Nerve-mask control net."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        import comfy.controlnet

        model, vae = _load_model(BASE_FILE), load_vae(_existing(VAE_FILE))
        guide_in_weak_noise(model)
        simplify(vae.first_stage_model)
        vae.first_stage_model.to(memory_format=torch.channels_last)  # decodes a fifth faster on a CPU
        state, metadata = _read(TEXT_FILE)
        from .nano_clip import load_nano_clip

        clip = load_nano_clip(state, metadata)
        control_net = comfy.controlnet.load_controlnet(str(_existing(CONTROL_FILE)))
        return io.NodeOutput(model, clip, vae, control_net)


def guide_in_weak_noise(model: Any) -> None:
    """Let the host's CFG guider, which KSampler uses, guide this ModelPatcher of the host below GUIDED_BELOW."""
    from comfy.patcher_extension import WrappersMP

    model.add_wrapper(WrappersMP.PREDICT_NOISE, _predict)


def _predict(
    predict: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: Any = None, seed: int | None = None
) -> torch.Tensor:
    """Predict without guidance in strong noise, which saves the time of the negative prompt too."""
    guider = predict.class_obj
    asked = getattr(guider, "cfg", None)
    if asked is None or float(timestep.max()) < GUIDED_BELOW:
        return predict(x, timestep, model_options, seed)
    guider.cfg = 1.0
    try:
        return predict(x, timestep, model_options, seed)
    finally:
        guider.cfg = asked


def _load_model(name: str) -> Any:
    import comfy.sd

    path = str(_existing(name))
    return comfy.sd.load_checkpoint_guess_config(path, output_vae=False, output_clip=False)[0]


def _read(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    import comfy.utils

    loaded: Any = comfy.utils.load_torch_file(str(_existing(name)), safe_load=True, return_metadata=True)
    return loaded


def _existing(name: str) -> Path:
    path = WEIGHTS / name
    if not path.is_file():
        raise WeightsError(
            f"The embedded weight file {name} is missing from {WEIGHTS}",
            fix="restore the folder weights/ from the pack's repository",
        )
    return path
