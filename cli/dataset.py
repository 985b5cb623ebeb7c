"""`python . dataset`: check a data set before training on it, trace its frames, or make one of phantoms."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import option_types
from .command import Command
from .writable import check_file, check_folder


def arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    check = actions.add_parser("check", help="report what a data set holds and what is wrong with it")
    check.add_argument("path", type=Path, help="a folder of frames, or a CSV table")
    check.add_argument(
        "--layout", default="auto", help="auto (default), table, qilu, corn1, padova or folder"
    )
    check.add_argument("--um-per-px", type=float, help="pixel size, where the data set does not say")
    check.add_argument("--out", type=Path, help="PNG file for the report as a picture")
    check.add_argument(
        "--seed", type=option_types.seed, default=0, help="of the split by patient (default: 0)"
    )
    check.add_argument(
        "--allow-image-split", action="store_true", help="accept frames whose patient is unknown"
    )
    trace = actions.add_parser("trace", help="write masks of frames that have none, by the embedded network")
    trace.add_argument("path", type=Path, help="a folder of frames, or a CSV table")
    trace.add_argument("out", type=Path, help="folder for the masks and the table of both")
    trace.add_argument("--um-per-px", type=float, help="pixel size, where the data set does not say")
    phantoms = actions.add_parser("phantoms", help="write a data set of phantom patients")
    phantoms.add_argument("out", type=Path, help="folder to write into")
    phantoms.add_argument("--patients", type=int, default=30, help="default: 30")
    phantoms.add_argument("--frames", type=int, default=4, help="of each patient (default: 4)")
    phantoms.add_argument("--seed", type=option_types.seed, default=0, help="default: 0")
    phantoms.add_argument("--size", type=int, default=384, help="pixels of a side (default: 384)")


def run(options: Namespace) -> int:
    return {"check": _check, "trace": _trace, "phantoms": _phantoms}[options.action](options)


def _check(options: Namespace) -> int:
    from ..training.config import DataConfig
    from ..training.data.gather import gather
    from .dataset_picture import draw_report
    from .dataset_text import describe

    if options.out:
        check_file(options.out, fix="choose another file with --out")
    config = DataConfig(path=str(options.path), layout=options.layout, um_per_px=options.um_per_px)
    gathered = gather(config, options.seed, options.allow_image_split)
    print(describe(gathered))
    if options.out:
        draw_report(gathered).save(options.out)
        print(f"Picture: {options.out}")
    return 1 if gathered.report.errors else 0


def _trace(options: Namespace) -> int:
    from ..training.data.tracing import write_tracings

    check_folder(options.out, fix="choose another folder")
    table = write_tracings(options.path, options.out, options.um_per_px)
    print(f"{table}: look at the masks, then fill in patients, and cohorts if they are known.")
    return 0


def _phantoms(options: Namespace) -> int:
    from ..training.data.phantoms import PhantomRequest, write_phantoms

    check_folder(options.out, fix="choose another folder")
    request = PhantomRequest(options.patients, options.frames, options.seed, options.size)
    table = write_phantoms(request, options.out)
    print(f"{table}: {options.patients * options.frames} synthetic frames, not for clinical use.")
    return 0


COMMAND = Command(
    "dataset", "check a data set, trace its frames, or make one of phantoms", arguments, run, "host"
)
