"""`python . evaluate REAL SYNTHETIC --out DIR`: the whole comparison as one HTML page, JSON and figures."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..host.paths import OUTPUT
from . import option_types
from .command import Command

if TYPE_CHECKING:
    from ..ccm.equivalence.margins import Margins
    from ..ccm.fidelity.features import FeatureExtractor
    from ..ccm.frames.record import Record
    from ..ccm.report.sets import EvaluationSet

NERVE, EFFICIENTNET = "nerve", "efficientnet"
REMARK = (
    'A demonstration: the "real" frames are phantoms, drawn by a program, and the generated ones are made by CCM-nano, '
    "which has learnt from other phantoms. It shows what a report looks like; nothing in it is about patients."
)
DEMONSTRATION = OUTPUT / "report"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("real", nargs="?", type=Path, help="a folder of real frames, or a CSV table of them")
    parser.add_argument("synthetic", nargs="?", type=Path, help="the same of generated frames")
    parser.add_argument("--out", type=Path, help="folder for the report; an interrupted run goes on with it")
    parser.add_argument("--paired", action="store_true", help="frames of one name share a mask")
    parser.add_argument("--training", type=Path, help="the frames that the generator was trained on")
    parser.add_argument("--utility", type=Path, help="the utility.json of `python . utility`")
    parser.add_argument("--margins", type=Path, help="text file of margins, a line each: CNFL 1.5 # source")
    parser.add_argument(
        "--extractor",
        default=NERVE,
        help=f"{NERVE} (default), {EFFICIENTNET}, or the file of Inception weights of torch-fidelity",
    )
    parser.add_argument("--um-per-px", type=float, help="pixel size (default: 400 um over a square frame)")
    parser.add_argument("--seed", type=option_types.seed, default=0, help="of the permutations (default: 0)")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    parser.add_argument(
        "--demonstration",
        action="store_true",
        help="make phantom patients and frames of CCM-nano, and compare those (default --out: output/report)",
    )
    parser.epilog = "docs/evaluation.md explains which number answers which question."
    parser.set_defaults(masks=False, network=None)  # what `measure` asks for


def run(options: Namespace) -> int:
    from ..ccm.errors import DataError
    from .writable import check_folder

    if options.demonstration:
        options.out = options.out or DEMONSTRATION
    elif not (options.real and options.synthetic and options.out):
        raise DataError(
            "Nothing to compare, or nowhere to write", fix="python . evaluate REAL SYNTHETIC --out DIR"
        )
    for source in (options.real, options.synthetic, options.training):
        if source and options.out.resolve().is_relative_to(source.resolve()):
            raise DataError(
                f"{options.out} lies in {source}, where its figures would count as frames",
                fix="choose another folder with --out",
            )
    check_folder(options.out, fix="choose another folder with --out")
    if options.demonstration:
        from . import demonstration

        options.real, options.synthetic = demonstration.make(options.out, options.seed)
    return _evaluate(options)


def _evaluate(options: Namespace) -> int:
    from tqdm import tqdm

    from ..ccm.report.evaluation import Provenance, Settings, evaluate, frames_seen, program_versions
    from ..ccm.report.figures import draw_figures
    from ..ccm.report.output import describe, write_report
    from ..ccm.report.utility import read_utility
    from ..ccm.statistics.equivalence import Design

    design = Design.PAIRED if options.paired else Design.INDEPENDENT
    settings = Settings(design, _margins(options.margins), options.seed)
    utility = read_utility(options.utility) if options.utility else None
    extractor = _extractor(options.extractor, options.out)
    real, generated, training = _sets(options)
    made_by = Provenance(_command(options), program_versions(), REMARK if options.demonstration else "")
    seen = frames_seen(extractor, real, generated, training)
    with tqdm(total=seen, unit="frame", desc="comparing", file=sys.stderr) as bar:

        def on_frame(frames: int) -> None:
            bar.update(frames)

        report = evaluate(real, generated, extractor, settings, made_by, training, utility, on_frame)
    page = write_report(report, draw_figures(report, real, generated, training), options.out)
    print(
        f"\n{describe(report)}\n\nReport: {page}\nAlso:   report.json, figures/ and the measured tables beside it"
    )
    return 0


def _margins(path: Path | None) -> Margins:
    from ..ccm.equivalence.margins import parse_margins
    from ..ccm.errors import DataError

    try:
        return parse_margins("" if path is None else path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error})", fix="write one margin a line: CNFL 1.5"
        ) from error


def _extractor(name: str, out: Path) -> FeatureExtractor:
    """The network of that name or file, with its features kept below the folder of the report."""
    from ..ccm.fidelity.cache import CachedExtractor
    from ..ccm.fidelity.efficientnet import load_efficientnet
    from ..ccm.fidelity.features import load_nerve_encoder
    from ..ccm.fidelity.inception import load_inception

    if name == NERVE:
        network = load_nerve_encoder()
    else:
        network = load_efficientnet() if name == EFFICIENTNET else load_inception(Path(name))
    return CachedExtractor(network, out / "features")


def _sets(options: Namespace) -> tuple[EvaluationSet, EvaluationSet, EvaluationSet | None]:
    """Look at every frame before the first is measured, so that what is wrong with one is said at once."""
    from ..ccm.report.files import list_records, pair_by_name, unmeasured
    from ..ccm.report.sets import check_cohorts, fingerprints

    real = list_records("real", options.real, options.um_per_px)
    generated = list_records("generated", options.synthetic, options.um_per_px)
    if options.paired:
        generated = pair_by_name(real, generated)
    check_cohorts([record.cohort for record in real], [record.cohort for record in generated])
    for name, source, records in (("real", options.real, real), ("generated", options.synthetic, generated)):
        fingerprints(unmeasured(name, str(source), records))
    training = list_records("training", options.training, options.um_per_px) if options.training else None
    return (
        _measured("real", options.real, real, options),
        _measured("generated", options.synthetic, generated, options),
        unmeasured("training", str(options.training), training) if training else None,
    )


def _measured(name: str, source: Path, records: Sequence[Record], options: Namespace) -> EvaluationSet:
    from ..ccm.measuring import task_of
    from ..ccm.report.files import measured
    from .measure import bring_up_to_date

    tasks = [task_of(record, record.frame, is_mask=False) for record in records]
    print(f"Measuring {name} frames:", flush=True)
    rows = bring_up_to_date(options.out / f"{name}_measured.csv", tasks, options)
    return measured(name, str(source), records, rows)


def _command(options: Namespace) -> str:
    """The command that makes this report again."""
    if options.demonstration:
        words = ["--demonstration"]
    else:
        words = [str(options.real), str(options.synthetic)] + ["--paired"] * options.paired
    given = {
        name: getattr(options, name.replace("-", "_"))
        for name in ("training", "utility", "margins", "um-per-px")
    }
    given |= {"extractor": None if options.extractor == NERVE else options.extractor}
    given |= {"seed": options.seed or None, "out": options.out}
    for name, value in given.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(["python", ".", "evaluate", *words])


COMMAND = Command(
    "evaluate", "compare real and generated frames, into an HTML report", arguments, run, "host"
)
