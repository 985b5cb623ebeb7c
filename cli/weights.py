"""`python . weights`: list the embedded weight files and check that each can be read to its end."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..ccm.errors import WeightsError
from ..host.paths import ROOT
from .command import Command

FOLDER = ROOT / "weights"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=FOLDER, help="another folder of .safetensors files")


def run(options: Namespace) -> int:
    total = 0
    for file in sorted(options.folder.glob("*.safetensors")):
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


COMMAND = Command("weights", "list and check the embedded weights", arguments, run, None)
