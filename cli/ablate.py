"""`python . ablate CONFIG.toml`: is WDLoRA better than plain LoRA, than no adapter, and than its rivals?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from . import training_options
from .command import Command

SEEDS = 3


def arguments(parser: ArgumentParser) -> None:
    training_options.arguments(parser, "the TOML file of the WDLoRA run; the other arms follow from it")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each arm (%(default)s)")
    parser.add_argument(
        "--rivals",
        nargs="*",
        choices=("gan", "scratch"),
        default=(),
        help="compare these too: a mask-conditional GAN, the embedded diffusion model from scratch",
    )
    parser.epilog = "run.folder gets a run folder for each arm and seed, and ablation.txt, .csv and .json."


def run(options: Namespace) -> int:
    config = training_options.configured(options)
    from ..training.ablate import ablate

    table = ablate(config, options.seeds, options.rivals, options.allow_image_split)
    if table is None:
        print("Stopped, with a checkpoint. The same command goes on where it was.", file=sys.stderr)
        return 130
    print(table)
    return 0


COMMAND = Command(
    "ablate", "compare base, LoRA and WDLoRA at matched steps and parameters", arguments, run, "host"
)
