"""Training of the embedded CCM-nano family on procedural phantoms only: `python . weights train`.

phantoms -> autoencoder -> base + control net + prompt encoder -> adapters (by ..trainer)
         -> nerve segmentation
grammar of clinical wordings -> reader
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

STAGES = ("decoder", "base", "assemble", "wdlora", "lora", "reader", "segmentation")


def train(stages: Sequence[str], work: Path, out: Path, threads: int = 0) -> None:
    """Train those stages that have not been trained yet; 0 threads are all."""
    import torch

    from ..bases.host_modules import import_host

    import_host()
    if threads:
        torch.set_num_threads(threads)
    from . import family

    shop = family.Workshop(family.Recipe(), work, out)
    for stage in stages:
        getattr(family, f"{stage}_stage")(shop)
