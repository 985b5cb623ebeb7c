"""`python . demo`: the whole pack once, through a real server, from masks or a real frame to one sheet."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..host import locate, server
from ..host.paths import OUTPUT
from . import option_types
from .command import Command
from .writable import check_folder


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--frame", type=Path, help="a real frame to start from, instead of generated masks")
    parser.add_argument("--um-per-px", type=float, help="its pixel size (default: 400 um over its width)")
    parser.add_argument(
        "--seed", type=option_types.seed, default=0, help="another seed gives other nerves (default: 0)"
    )
    parser.add_argument("--output", type=Path, help="folder for the results (default: output/demo)")


def run(options: Namespace) -> int:
    from ..batch.client import Client
    from . import demo_graph, demo_results
    from .progress import Ticker

    graph = demo_graph.prepare(options.frame, options.um_per_px, options.seed)
    folder = options.output or OUTPUT / "demo" / (options.frame.stem if options.frame else "")
    check_folder(folder, fix="choose another folder with --output")
    print("Starting ComfyUI ...", flush=True)
    with server.running(locate.ready(Path(sys.executable))) as comfy, Client(comfy.address) as client:
        demo_graph.upload(client, graph, options.frame, options.seed)
        print(f"Running {len(graph)} nodes on {comfy.address}", flush=True)
        ticker = Ticker(graph)
        outputs = client.run(graph, ticker)
        ticker.done()
        written = demo_results.write(client, graph, outputs, folder, options.seed)
    if written.quality:
        print(f"Your frame:    {written.quality}")
    print(f"Contact sheet: {written.sheet}\nBiomarkers:    {written.csv}, {written.json}")
    print(f"Pictures:      {written.folder}\nSynthetic, not for clinical use.")
    return 0


COMMAND = Command(
    "demo", "generate, trace and measure synthetic frames of the three cohorts", arguments, run, "host"
)
