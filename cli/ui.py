"""`python . ui`: leave a ComfyUI with the pack running until Ctrl-C."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..host import locate, server
from . import option_types
from .command import Command

PORT = 8188


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=option_types.port, default=PORT, help=f"port on 127.0.0.1 (default: {PORT})"
    )


def run(options: Namespace) -> int:
    server.check_port(options.port)
    print("Starting ComfyUI ...", flush=True)
    with server.running(locate.ready(Path(sys.executable)), port=options.port) as comfy:
        print(f"ComfyUI runs at {comfy.address}", flush=True)
        print(
            "The pack's templates: menu Workflow > Browse Templates > ComfyUI-CCM. Stop with Ctrl-C.",
            flush=True,
        )
        try:
            comfy.process.wait()
        except KeyboardInterrupt:
            print("\nStopped.")
            return 0
        print(f"ComfyUI ended. Its log: {comfy.log}", file=sys.stderr)
        return 1


COMMAND = Command("ui", "run ComfyUI with the pack in the browser", arguments, run, "host")
