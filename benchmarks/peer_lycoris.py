"""LyCORIS's DoRA layer, installed from PyPI into a folder of its own beside the torch that is there."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, cast

from ..ccm.errors import HostError
from ..host.paths import ROOT
from ..host.pip import pip

FOLDER = ROOT / ".venv-peers" / "lycoris"
PACKAGES = ("lycoris-lora==4.1.3", "toml==0.10.2", "einops==0.8.2")  # what else it needs comes with torch


def prepare() -> None:
    """Make `import lycoris` work; raises HostError where it cannot be installed."""
    stamp = FOLDER / "ccm.stamp"
    wanted = "\n".join(PACKAGES)
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        target = ["--target", str(FOLDER), "--upgrade"]
        pip(Path(sys.executable), ["install", "--no-deps", *target, *PACKAGES])
        stamp.write_text(wanted, "utf-8")
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    try:
        import lycoris  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise HostError(
            f"LyCORIS cannot be imported: {error}", fix="leave it out with --no-lycoris"
        ) from error


def attach(layer: Any, rank: int, alpha: float) -> Any:
    """Let LyCORIS take over the forward pass of a linear layer; return its module, with A, B and m."""
    from lycoris.modules.locon import LoConModule  # pyright: ignore[reportMissingImports]

    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    module = cast(Any, LoConModule)("layer", layer, 1.0, rank, alpha, weight_decompose=True)
    module.apply_to()
    return module
