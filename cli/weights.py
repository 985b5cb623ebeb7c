"""`python . weights`: list and check the embedded weight files; `python . weights train` makes a new family."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..ccm.errors import WeightsError
from ..host import locate
from ..host.paths import ROOT
from ..training.nano import STAGES
from . import logs
from .command import Command
from .writable import check_folder

FOLDER = ROOT / "weights"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=FOLDER, help="another folder of .safetensors files")
    parser.set_defaults(act=list_files)
    actions = parser.add_subparsers(metavar="action")
    parser.usage = f"{parser.prog} [-h] [--folder FOLDER] [action ...]"
    train = actions.add_parser("train", help="train the embedded family from nothing, on phantoms")
    work = ROOT / "runs" / "nano"
    train.add_argument("--work", type=Path, default=work, help="folder for phantoms and stages (8 GB)")
    train.add_argument("--out", type=Path, default=work / "weights", help="folder for the weight files")
    train.add_argument("--stage", choices=STAGES, help="one stage alone, so that stages can run side by side")
    train.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for all")
    train.set_defaults(act=train_family, environment="host")


def run(options: Namespace) -> int:
    return options.act(options)


def train_family(options: Namespace) -> int:
    """Train all stages that have not been trained yet, or one of them."""
    check_folder(options.work, fix="choose another folder with --work")
    check_folder(options.out, fix="choose another folder with --out")
    os.environ["COMFYUI_PATH"] = str(locate.ready(Path(sys.executable)))
    logs.show("%(asctime)s %(message)s")
    from ..training import nano

    stages = (options.stage,) if options.stage else STAGES
    nano.train(stages, options.work, options.out, options.threads)
    return 0


def list_files(options: Namespace) -> int:
    files = sorted(options.folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(
            f"There are no .safetensors files in {options.folder}", fix="name another folder with --folder"
        )
    total = 0
    for file in files:
        parameters = count_parameters(file)
        total += file.stat().st_size
        print(f"{file.name:40} {file.stat().st_size / 1e6:8.2f} MB {parameters:12,} parameters")
    print(f"{'together':40} {total / 1e6:8.2f} MB")
    return 0


def count_parameters(file: Path) -> int:
    """Return how many numbers a safetensors file holds; raises WeightsError where it is cut short."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError as error:
        raise _damaged(file) from error
    header.pop("__metadata__", None)
    if max((entry["data_offsets"][1] for entry in header.values()), default=0) != len(data) - 8 - length:
        raise _damaged(file)
    count = 0
    for entry in header.values():
        numbers = 1
        for size in entry["shape"]:
            numbers *= size
        count += numbers
    return count


def _damaged(file: Path) -> WeightsError:
    return WeightsError(f"{file} is damaged or cut short", fix="fetch the pack again")


COMMAND = Command("weights", "list the embedded weights, or train such a family", arguments, run, None)
