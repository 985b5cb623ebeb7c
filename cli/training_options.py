"""What the commands that train share: a configuration, keys replaced in it, and ComfyUI found for it."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ..host import locate
from . import logs

if TYPE_CHECKING:
    from ..training.config import TrainConfig


def arguments(parser: ArgumentParser, config: str) -> None:
    """Add the options; `config` says what the TOML file is."""
    parser.add_argument("config", type=Path, help=config)
    parser.add_argument(
        "--allow-image-split", action="store_true", help="accept frames of unknown patients; it is recorded"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="another value for one key"
    )


def configured(options: Namespace) -> TrainConfig:
    """Read the configuration, then name ComfyUI to the trainer and show the log."""
    from ..training.config import read_config

    config = read_config(options.config, tuple(options.set))
    os.environ["COMFYUI_PATH"] = str(locate.ready(Path(sys.executable)))
    logs.show()
    return config
