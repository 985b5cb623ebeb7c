"""Where feature extractors lie on this host, and how they get onto its device."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
import torch

from ..ccm.errors import ExtractorError
from ..ccm.fidelity.features import NERVE_ENCODER, FeatureExtractor, load_nerve_encoder
from ..ccm.fidelity.inception import SUFFIXES, load_inception

FOLDER = "ccm_extractors"


def names() -> list[str]:
    """The embedded nerve encoder and the files in the host's folders for extractors."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folders, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, set(SUFFIXES))
    return [NERVE_ENCODER, *folder_paths.get_filename_list(FOLDER)]


def path(name: str) -> Path | None:
    """The file of an extractor in the list, None for the embedded one; ExtractorError if there is none."""
    if name == NERVE_ENCODER:
        return None
    found = folder_paths.get_full_path(FOLDER, str(name)) if name in names() else None
    if found is None:
        raise ExtractorError(
            f"There is no extractor {name!r} in {', '.join(folder_paths.get_folder_paths(FOLDER))}",
            fix=f"choose {NERVE_ENCODER!r}, or put torch-fidelity's file "
            "weights-inception-2015-12-05-6726825d.pth there",
        )
    return Path(found)


def load(name: str) -> FeatureExtractor:
    """Load an extractor by its name in the list, Inception onto the host's device."""
    from comfy import model_management
    from comfy.model_patcher import ModelPatcher

    file = path(name)
    if file is None:
        return load_nerve_encoder()
    extractor = load_inception(file)
    device, rest = model_management.get_torch_device(), torch.device("cpu")
    model_management.load_models_gpu([ModelPatcher(extractor.network, device, rest)])
    return extractor
