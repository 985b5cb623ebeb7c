"""`python . ablate CONFIG.toml`: is WDLoRA better than plain LoRA, and than no adapter, on your data?"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..host import locate
from . import logs
from .command import Command

SEEDS = 3


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "config", type=Path, help="the TOML file of the WDLoRA run; the other arms follow from it"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each arm (%(default)s)")
    parser.add_argument(
        "--allow-image-split", action="store_true", help="accept frames of unknown patients; it is recorded"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="another value for a key"
    )
    parser.epilog = "run.folder gets a run folder for each arm and seed, and ablation.txt, .csv and .json."


def run(options: Namespace) -> int:
    from ..training.config import read_config

    config = read_config(options.config, tuple(options.set))
    os.environ["COMFYUI_PATH"] = str(locate.ready(Path(sys.executable)))
    logs.show()
    from ..training.ablate import ablate

    table = ablate(config, options.seeds, options.allow_image_split)
    if table is None:
        print("Stopped, with a checkpoint. The same command goes on where it was.", file=sys.stderr)
        return 130
    print(table)
    return 0


COMMAND = Command(
    "ablate", "compare base, LoRA and WDLoRA at matched steps and parameters", arguments, run, "host"
)
