"""Training of the embedded CCM-nano family on procedural phantoms only: `python . train nano`.

phantoms -> autoencoder -> base + control net + prompt encoder -> adapter (in ..adapter)
         -> nerve segmentation
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

STAGES = ("decoder", "base", "assemble", "wdlora", "lora", "segmentation")


def main(argv: list[str]) -> int:
    """Train all stages that have not been trained yet, or one of them."""
    parser = argparse.ArgumentParser(prog="python . train nano", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/nano"), help="folder for phantoms and stages (5 GB)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/nano/weights"), help="folder for the weight files"
    )
    parser.add_argument(
        "--stage", choices=STAGES, help="one stage alone, so that stages can run side by side"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for all")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    import torch

    from ..bases.host_modules import import_host

    import_host()
    if options.threads:
        torch.set_num_threads(options.threads)
    from . import family

    shop = family.Workshop(family.Recipe(), options.work, options.out)
    for stage in [options.stage] if options.stage else STAGES:
        getattr(family, f"{stage}_stage")(shop)
    return 0
