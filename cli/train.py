"""`python . train CONFIG.toml`: train an adapter, or a control net, for a base model that ComfyUI loads."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace

from ..host.paths import STATE
from . import option_types, training_options
from .command import Command


def arguments(parser: ArgumentParser) -> None:
    training_options.arguments(parser, "a TOML file; training/configs holds one for each family")
    parser.add_argument("--dry-run", action="store_true", help="check everything and predict the memory")
    parser.add_argument(
        "--memory",
        type=option_types.gigabytes,
        metavar="GB",
        help="with --dry-run: compute the memory for a GPU of this size, without weights and data",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run")
    parser.epilog = "docs/training.md explains every key. Ctrl-C ends after a step, with a checkpoint."


def run(options: Namespace) -> int:
    config = training_options.configured(options)
    from ..training import trainer

    if options.memory:
        print(trainer.plan_for(config, options.memory))
        return 0
    if options.dry_run:
        print(trainer.dry_run(config, allow_image_split=options.allow_image_split))
        return 0
    if trainer.train(config, resume=options.resume, allow_image_split=options.allow_image_split):
        made = trainer.CONTROL_NET if config.run.kind == "control" else trainer.LAST
        print(f"Done: {config.run.folder}/{made}, and report.md beside it.\n{_used(config.run.kind)}")
        return 0
    print(f"Stopped, with a checkpoint. Go on with: {_again(options)}", file=sys.stderr)
    return 130


def _used(kind: str) -> str:
    """What to do with the file that was made."""
    control = kind == "control"
    folder, node = ("controlnet", "Load ControlNet Model") if control else ("loras", "Load CCM Adapter")
    return (
        f"Put it into models/{folder} of your ComfyUI, or for `python . ui` into {STATE / 'models' / folder},\n"
        f"and choose it in {node}."
    )


def _again(options: Namespace) -> str:
    settings = [word for setting in options.set for word in ("--set", setting)]
    allowed = ["--allow-image-split"] if options.allow_image_split else []
    return shlex.join(["python", ".", "train", str(options.config), *settings, *allowed, "--resume"])


COMMAND = Command("train", "train an adapter, or a control net, on your own frames", arguments, run, "host")
