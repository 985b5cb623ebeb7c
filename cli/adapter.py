"""`python . adapter inspect|verify|convert FILE`: LoRA and DoRA files of any tool."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ..host import locate
from .command import Command

if TYPE_CHECKING:
    from ..ccm.adapter.placing import BaseModel

TARGETS = ("ccm", "true-m", "peft", "kohya", "diffusers", "ai-toolkit")
MARKS = {True: "pass", False: "FAIL", None: "note"}


def arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="action", required=True)
    base = "the base model that it was trained on: a .safetensors checkpoint or diffusion model"
    for name, text in (
        ("inspect", "say what the file holds"),
        ("verify", "check the file, and with --base its names, its base and its exactness"),
        ("convert", "write it in another format without loss"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("file", type=Path, help="a .safetensors file, or the folder that PEFT wrote")
        if name == "convert":
            sub.add_argument("out", type=Path, help="the file to write; for PEFT a folder")
            sub.add_argument("--to", choices=TARGETS, default="ccm", help="the format to write (%(default)s)")
        if name != "inspect":
            needed = "" if name == "verify" else "; needed for every format but peft and kohya"
            sub.add_argument("--base", type=Path, help=base + needed)
    parser.epilog = "docs/adapters.md explains the formats, and what is checked."


def run(options: Namespace) -> int:
    from ..ccm.adapter.dialects import read_foreign
    from ..ccm.adapter.inspection import inspect

    adapter = read_foreign(options.file)
    if options.action == "inspect":
        print("\n".join(inspect(adapter)))
        return 0
    base = None if options.base is None else read_base(options.base)
    if options.action == "verify":
        from ..ccm.adapter.verify import verify

        findings = verify(adapter, base)
        for finding in findings:
            print(f"{MARKS[finding.passed]}  {finding.text}")
        return int(any(finding.passed is False for finding in findings))
    from ..ccm.adapter.convert import Target, convert

    convert(adapter, base, Target(options.to), options.out)
    print(f"Wrote {options.out}")
    return 0


def read_base(path: Path) -> BaseModel:
    """Return the base model by the names of the ComfyUI that the command line finds or fetches."""
    os.environ["COMFYUI_PATH"] = str(locate.ready(Path(sys.executable)))
    from ..training.host_names import read_base

    return read_base(path)


COMMAND = Command("adapter", "inspect, check and convert LoRA and DoRA files", arguments, run, "host")
