"""Where segmentation networks of the user's own lie on this host."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ..ccm.errors import NetworkError
from ..ccm.own_network import SUFFIXES, load_own_network
from ..ccm.segmentation import Network, load_segmenter

FOLDER = "ccm_segmenters"
EMBEDDED = "embedded"


def names() -> list[str]:
    """The embedded network and the files in the host's folders for segmentation networks."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folders, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, set(SUFFIXES))
    return [EMBEDDED, *folder_paths.get_filename_list(FOLDER)]


def path(name: str) -> Path | None:
    """The file of a network in the list, None for the embedded one; NetworkError if there is none."""
    if name == EMBEDDED:
        return None
    found = folder_paths.get_full_path(FOLDER, str(name)) if name in names() else None
    if found is None:
        raise NetworkError(
            f"There is no network {name!r} in {', '.join(folder_paths.get_folder_paths(FOLDER))}",
            fix=f"choose {EMBEDDED!r}, or put an ONNX or TorchScript file there",
        )
    return Path(found)


def load(name: str) -> Network:
    """Load a network by its name in the list."""
    file = path(name)
    return load_segmenter() if file is None else load_own_network(file)
