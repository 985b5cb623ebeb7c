"""Text files in the host's output folder."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths


def save(prefix: str, texts: dict[str, str]) -> list[Path]:
    """Write one file per suffix under the next free number of the prefix, each moved into place whole."""
    folder, name, counter, _, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory()
    )
    files = []
    for suffix, text in texts.items():
        file = Path(folder) / f"{name}_{counter:05}_.{suffix}"
        beside = file.with_name(f"{file.name}.part")
        beside.write_text(text, "utf-8")
        os.replace(beside, file)
        files.append(file)
    return files
