"""ComfyUI's own model classes, imported into a training process."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ...ccm.errors import HostError


def import_host() -> None:
    """Put ComfyUI on the module path, set for training: PyTorch attention, and the CPU where there is no GPU.

    The folder is named by COMFYUI_PATH, which the command line sets. Raises HostError when it is missing.
    """
    if "comfy.model_management" in sys.modules:
        return
    root = os.environ.get("COMFYUI_PATH", "")
    if not (Path(root) / "comfy").is_dir():
        raise HostError(
            f"COMFYUI_PATH is {root!r}, which holds no ComfyUI", fix="run `python . train` or set it"
        )
    sys.path.insert(0, root)
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True
    _import_models()


def _import_models() -> None:
    """Import the models without the warnings about optional packages, of models that are not trained here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        import_module("comfy.sd")
    finally:
        root.setLevel(level)


def leave_inference_mode(module: torch.nn.Module) -> None:
    """Re-create parameters and buffers that were made in inference mode, which cannot take part in backward."""
    with torch.inference_mode(False):
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                if parameter.is_inference():
                    setattr(part, name, torch.nn.Parameter(parameter.clone(), requires_grad=False))
            for name, buffer in part.named_buffers(recurse=False):
                if buffer.is_inference():
                    setattr(part, name, buffer.clone())


def pytorch_attention(_: Any, *args: Any, **options: Any) -> torch.Tensor:
    """The host's attention override for training: its default one breaks in backward when memory is low."""
    from comfy.ldm.modules.attention import attention_pytorch

    return attention_pytorch(*args, **options)
