"""`python . measure PATH... --out table.csv`: biomarkers of frames or masks, one row each, by all cores."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .command import Command

if TYPE_CHECKING:
    from ..ccm.measuring import Row, Task
    from ..ccm.segmentation import Network


MOST_TOLD = 10


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folders, CSV tables or pictures")
    parser.add_argument("--out", type=Path, help="the CSV table to write; an interrupted run goes on with it")
    parser.add_argument(
        "--masks", action="store_true", help="the pictures are nerve masks, or have masks beside"
    )
    parser.add_argument("--um-per-px", type=float, help="pixel size (default: 400 um over a square frame)")
    parser.add_argument("--network", type=Path, help="an ONNX or TorchScript network of your own")
    parser.add_argument(
        "--overlays",
        type=Path,
        metavar="DIR",
        help="also draw the nerves of each file, as pictures into a folder",
    )
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.epilog = "docs/measuring.md explains the table, and what its numbers can be compared with."


def run(options: Namespace) -> int:
    from ..ccm.errors import DataError

    if options.worker:
        from . import measure_worker

        return measure_worker.serve(load_network(options))
    if not options.paths or options.out is None:
        raise DataError(
            "Nothing to measure, or nowhere to write", fix="python . measure FOLDER --out table.csv"
        )
    return measure(options)


def load_network(options: Namespace) -> Network | None:
    """The network that finds the nerves, None where masks are given."""
    from ..ccm.own_network import load_own_network
    from ..ccm.segmentation import load_segmenter

    if options.masks:
        return None
    return load_own_network(options.network) if options.network else load_segmenter()


def measure(options: Namespace) -> int:
    """Measure what is not measured yet, write the tables, and return 1 if any file failed."""
    from ..ccm.measuring import list_tasks, with_overlays
    from .writable import check_file, check_folder

    check_file(options.out, fix="choose another file with --out")
    tasks = list_tasks(options.paths, options.masks, options.um_per_px)
    if options.overlays:
        check_apart(options.overlays, options.paths)
        check_folder(options.overlays, fix="choose another folder with --overlays")
        tasks = with_overlays(tasks, options.overlays)
    return report(options.out, bring_up_to_date(options.out, tasks, options))


def check_apart(overlays: Path, paths: Sequence[Path]) -> None:
    """Raise DataError if the overlays would lie in a folder whose pictures are measured, and so would be next time."""
    from ..ccm.errors import DataError
    from ..ccm.frames.table import TABLE_NAME

    for path in paths:
        scanned = path.is_dir() and not (path / TABLE_NAME).is_file()
        if scanned and overlays.resolve().is_relative_to(path.resolve()):
            raise DataError(
                f"Overlays in {overlays} would be measured as frames of {path}",
                fix="name a folder outside of it with --overlays",
            )


def bring_up_to_date(out: Path, tasks: Sequence[Task], options: Namespace) -> list[Row]:
    """Measure the tasks that the table lacks, write it with exactly their rows, and return these in order."""
    from tqdm import tqdm

    from ..ccm.measuring import COLUMNS
    from ..ccm.row_table import RowTable
    from .measure_worker import Pool

    table = RowTable(out, COLUMNS, "frame")
    rows = reusable(table.rows(), tasks, load_network(options))
    waiting = [task for task in tasks if str(task.path) not in rows]
    print(f"{len(tasks)} files, {len(rows)} of them measured before", flush=True)
    try:
        with Pool(min(options.workers or cores(), max(1, len(waiting))), worker_options(options)) as pool:
            told = {"total": len(waiting), "unit": "frame", "file": sys.stderr, "disable": not waiting}
            for row in tqdm(pool.measure(waiting), **told):
                table.add(row)
                rows[row["frame"]] = row
    finally:
        table.close()
    ordered = [rows[str(task.path)] for task in tasks]
    table.finish(ordered)
    return ordered


def reusable(rows: dict[str, Row], tasks: Sequence[Task], network: Network | None) -> dict[str, Row]:
    """The rows without error of files that did not change, made by the same tool, network and pixel size.

    Where overlays are wanted, the file's must show that row.
    """
    from ..ccm.measuring import identity, overlay_is_current

    def told(task: Task) -> Row:
        return {"patient": task.patient, "eye": task.eye, "cohort": task.cohort}

    return {
        str(task.path): row | told(task)
        for task in tasks
        if (row := rows.get(str(task.path)))
        and not row["error"]
        and (made_by := identity(task, network)).items() <= row.items()
        and overlay_is_current(task, made_by)
    }


def worker_options(options: Namespace) -> list[str]:
    chosen = ["--masks"] if options.masks else []
    return chosen + (["--network", str(options.network)] if options.network else [])


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def report(out: Path, rows: Sequence[Row]) -> int:
    """Write the averages beside the table, say what was done, and return 1 if any file failed."""
    from ..ccm.measuring import GROUP_COLUMNS, REFERENCE, average_eyes, average_patients
    from ..ccm.row_table import write_table

    eyes = average_eyes(rows)
    written = [out]
    if eyes:
        for name, groups in (("eyes", eyes), ("patients", average_patients(eyes))):
            written.append(out.with_name(f"{out.stem}_{name}.csv"))
            write_table(written[-1], GROUP_COLUMNS, groups)
    failed = [row for row in rows if row["error"]]
    flagged = [row for row in rows if row["quality"]]
    print(f"Measured {len(rows) - len(failed)} of {len(rows)}; {len(flagged)} with doubtful quality")
    for row in flagged[:MOST_TOLD]:
        print(f"Doubtful, left out of averages: {row['frame']}: {row['quality']}")
    if len(flagged) > MOST_TOLD:
        print(f"and {len(flagged) - MOST_TOLD} more, see the table")
    for row in failed:
        print(f"Failed: {row['frame']}: {row['error']}", file=sys.stderr)
    print(f"Wrote {', '.join(map(str, written))}")
    print(
        f"Reference: {REFERENCE}. Numbers of different tools are not interchangeable. Not for clinical use."
    )
    return 1 if failed else 0


COMMAND = Command(
    "measure", "measure the nerves of frames or masks, into a CSV table", arguments, run, "host"
)
