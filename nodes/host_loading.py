"""Parts of a base model through the host's own loaders, for the nodes and for the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ccm.grain import LIGHT_ONLY, add_grain

WORDS = "ccm.words"  # metadata of the embedded prompt encoder's file


def load_text_encoder(files: Sequence[Path], clip_type: str) -> Any:
    """Load one text encoder of several files; the embedded prompt encoder may stand for all of them."""
    import comfy.sd
    import comfy.utils

    if all(map(_has_words, files)):
        from .nano_clip import load_nano_clip

        content: Any = comfy.utils.load_torch_file(str(files[0]), safe_load=True, return_metadata=True)
        return load_nano_clip(*content)
    kind = getattr(comfy.sd.CLIPType, clip_type)
    return comfy.sd.load_clip([str(file) for file in files], clip_type=kind)


def _has_words(file: Path) -> bool:
    """Tell the embedded prompt encoder from the host's text encoders."""
    from safetensors import safe_open

    if file.suffix != ".safetensors":
        return False
    with safe_open(file, "pt") as opened:
        return WORDS in (opened.metadata() or {})


def load_vae(file: Path) -> Any:
    """Load an autoencoder, the embedded one with its grain; raises the host's error for a file that holds none."""
    import comfy.sd
    import comfy.utils

    state, metadata = comfy.utils.load_torch_file(str(file), return_metadata=True)
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.throw_exception_if_invalid()
    if LIGHT_ONLY in (metadata or {}):
        add_grain(vae.first_stage_model)
    return vae
