"""Where feature extractors lie on this host, and how they get onto its device."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch

from ..ccm.errors import ExtractorError
from ..ccm.fidelity import efficientnet
from ..ccm.fidelity.cache import CachedExtractor
from ..ccm.fidelity.features import NERVE_ENCODER, FeatureExtractor, load_nerve_encoder
from ..ccm.fidelity.inception import SUFFIXES, load_inception
from ..ccm.images import to_image

FOLDER = "ccm_extractors"
BUILT_IN = (NERVE_ENCODER, efficientnet.NAME)  # that need no file in the folder


def names() -> list[str]:
    """The built-in extractors and the files in the host's folders for extractors."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folders, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, set(SUFFIXES))
    return [*BUILT_IN, *folder_paths.get_filename_list(FOLDER)]


def path(name: str) -> Path | None:
    """The file of an extractor in the list, None for a built-in one; ExtractorError if there is none."""
    if name in BUILT_IN:
        return None
    found = folder_paths.get_full_path(FOLDER, str(name)) if name in names() else None
    if found is None:
        raise ExtractorError(
            f"There is no extractor {name!r} in {', '.join(folder_paths.get_folder_paths(FOLDER))}",
            fix=f"choose {NERVE_ENCODER!r}, or put torch-fidelity's file "
            "weights-inception-2015-12-05-6726825d.pth there",
        )
    return Path(found)


def validate(name: str | None) -> bool | str:
    """True, or why the extractor of that name cannot be used; None is a name not known yet."""
    try:
        if name is not None:
            path(name)
    except ExtractorError as error:
        return str(error)
    return True


def fingerprint(name: str | None) -> str:
    """Changes when the extractor's file does."""
    file = None if name is None else path(name)
    return "built in" if file is None else f"{file.stat().st_mtime_ns} {file.stat().st_size}"


def load(name: str) -> FeatureExtractor:
    """Load an extractor by its name in the list, its network onto the host's device, with a cache of features."""
    file = path(name)
    if name == NERVE_ENCODER:
        return _cached(load_nerve_encoder())
    extractor = load_inception(file) if file else efficientnet.load_efficientnet()
    _to_device(extractor.network)
    return _cached(extractor)


def of_clip_vision(model: Any) -> FeatureExtractor:
    """A CLIP_VISION model of the host as an extractor."""
    return _cached(ClipVision(model))


class ClipVision:
    """Image embeddings of a CLIP_VISION model that the host has loaded; the whole frame is resized, none cut."""

    name = "CLIP vision"
    turns_alike = False

    def __init__(self, model: Any) -> None:
        self.hash = _hash(model.get_sd())
        self.resize = f"antialiased bicubic to {model.image_size} x {model.image_size}, 8 bits"
        self._model = model

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        output = self._model.encode_image(to_image(grey), crop=False)
        return output["image_embeds"].double().cpu().numpy().reshape(len(grey), -1)


def _hash(weights: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _cached(extractor: FeatureExtractor) -> FeatureExtractor:
    """Features live in the host's temporary folder, which it empties when it starts."""
    return CachedExtractor(extractor, Path(folder_paths.get_temp_directory()) / "ccm_features")


def _to_device(network: torch.nn.Module) -> None:
    from comfy import model_management
    from comfy.model_patcher import ModelPatcher

    device, rest = model_management.get_torch_device(), torch.device("cpu")
    model_management.load_models_gpu([ModelPatcher(network, device, rest)])
