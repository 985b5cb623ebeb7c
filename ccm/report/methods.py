"""How the numbers of a report are made: text that can go into a paper, and its references."""

from __future__ import annotations

from ..fidelity.paired import CONVENTION
from ..statistics.equivalence import Design
from .clinical import Biomarkers
from .evaluation import Copies, EvaluationReport
from .visual import Visual

BIOMARKERS = (
    ("CNFL", "mm/mm²", "length of all nerves per area of the frame"),
    ("CNFD", "1/mm²", "main fibres per area; a main fibre leaves no other fibre and is at least 100 µm long"),
    ("CNBD", "1/mm²", "branch points on main fibres per area"),
    ("CTBD", "1/mm²", "all branches per area"),
    ("CNFA", "mm²/mm²", "nerve area per area"),
    ("CNFW", "µm", "mean nerve width, weighted by length"),
    ("CNFrD", "none", "box-counting dimension of the centre-lines, boxes of 6.25 to 100 µm"),
    ("TC", "none", "tortuosity coefficient, mean over main fibres, at 1.0417 µm per pixel"),
)
TERMS = (
    (
        "MMD²",
        "squared maximum mean discrepancy, unbiased: 0 on average for two sets from one source, at most 2; below 0 "
        "is as natural as above",
    ),
    (
        "p (permutation)",
        "share of random relabellings of whole patients that lie at least as far apart as the two sets do",
    ),
    ("KID", "the same distance with a cubic kernel; meant for Inception features"),
    (
        "precision, recall",
        "share of generated frames near a real one; share of real frames near a generated one",
    ),
    (
        "density, coverage",
        "how many real neighbourhoods hold a generated frame on average; share of real neighbourhoods that hold one",
    ),
    (
        "Fréchet distance",
        "squared distance of two fitted Gaussians (FID where the network is Inception); biased upwards at every N, "
        "so it is given beside its floor only",
    ),
    (
        "floor",
        "what two random halves of the real set, of different patients where known, score against each other",
    ),
    ("TOST", "two one-sided tests: equivalence is shown where the 90 % interval lies inside the margin"),
    (
        "NNDR",
        "distance to the nearest frame over that to the second nearest: near 0 for a copy, near 1 otherwise",
    ),
    ("DCR", "distance to the closest frame"),
)
REFERENCES = (
    "MMD: Gretton et al., J Mach Learn Res 2012;13:723-773.",
    "KID: Bińkowski et al., ICLR 2018, arXiv 1801.01401.",
    "Fréchet distance: Dowson and Landau, J Multivariate Anal 1982;12:450-455; for networks Heusel et al., NeurIPS "
    "2017, arXiv 1706.08500; its bias Chong and Forsyth, CVPR 2020, arXiv 1911.07023.",
    "Precision and recall: Kynkäänniemi et al., NeurIPS 2019, arXiv 1904.06991. Density and coverage: Naeem et al., "
    "ICML 2020, arXiv 2002.09797.",
    "SSIM: Wang et al., IEEE Trans Image Process 2004;13:600-612; MS-SSIM: Wang et al., Asilomar 2003.",
    "TOST: Schuirmann, J Pharmacokinet Biopharm 1987;15:657-680. Intersection-union: Berger, Technometrics "
    "1982;24:295-300. Half a standard deviation: Norman et al., Med Care 2003;41:582-592.",
    "Limits of agreement: Bland and Altman, Stat Methods Med Res 1999;8:135-160.",
    "NNDR: Lowe, Int J Comput Vis 2004;60:91-110; DCR and NNDR for synthetic data: Zhao et al., ACML 2021.",
    "Tortuosity coefficient: Kallinikos et al., Invest Ophthalmol Vis Sci 2004;45:418-422. Fractal dimension: Chen et "
    "al., Invest Ophthalmol Vis Sci 2018;59:1113-1118.",
)


def methods(report: EvaluationReport) -> list[str]:
    """The methods as paragraphs, with the numbers of this very report."""
    return [_sets(report), *_visual(report), *_biomarkers(report), *_copies(report)]


def _sets(report: EvaluationReport) -> str:
    paired = report.settings.design is Design.PAIRED
    relation = (
        "Generated frame i was made from the mask of real frame i, and the sets are compared as pairs."
        if paired
        else "The sets are independent: no generated frame was made from the mask of a real one."
    )
    patients = "an unknown number of" if report.real.patients is None else str(report.real.patients)
    return (
        f"{report.generated.frames} generated frames were compared with {report.real.frames} real frames of "
        f"{patients} patients. {relation} The patient is the unit of every test and interval where patients are known; "
        f"generated frames without a patient count as independent draws. Random numbers: seed {report.settings.seed}."
    )


def _visual(report: EvaluationReport) -> list[str]:
    if not isinstance(report.visual, Visual):
        return []
    result = report.visual.mmd
    text = (
        f"Frames were turned into {result.dimension} features by {report.extractor.name} (weights sha256 "
        f"{report.extractor.hash}; input {report.extractor.resize}). The distance is the unbiased squared MMD with a "
        f"{result.kernel}, over pairs of frames of different patients; p comes from {result.statistics.permutations} "
        "permutations of whole patients. The 95 % interval is a jackknife over patients; it is given from 40 patients "
        "a side and well above zero, where it holds. KID uses the cubic kernel, precision, recall, density and "
        "coverage the fifth neighbour. The Fréchet distance is computed in float64 with unbiased covariances."
    )
    pairs = report.visual.pairs
    return [text] + ([f"Similarity of pairs: {CONVENTION}; intervals over patients."] if pairs else [])


def _biomarkers(report: EvaluationReport) -> list[str]:
    if not isinstance(report.biomarkers, Biomarkers):
        return []
    tests = report.biomarkers.equivalence
    test = "paired" if tests.design is Design.PAIRED else "Welch"
    return [
        f"Nerves of both sets were traced and measured by one tool ({tests.source}). Frames of a patient were "
        f"averaged. Equivalence was tested by {test} TOST on patient means at 5 %, each biomarker in "
        "each cohort, and is claimed only if all tests pass (intersection-union, so without "
        "correction). Means carry 95 % intervals (Student's t over patients), differences 90 % intervals; "
        "the margins and their sources are in the table below.",
    ]


def _copies(report: EvaluationReport) -> list[str]:
    if not isinstance(report.copies, Copies):
        return []
    found = report.copies.found
    judged = (
        "Each real frame, compared with the frames of all other patients, tells what a frame of a new patient scores"
        if report.copies.among_real
        else f"The {found.n_heldout} real frames of this comparison, which the generator has not seen, tell what a new "
        "frame scores"
    )
    return [
        f"Copies were searched among {found.n_training} frames in all eight orientations, by the ratio of the "
        f"distances to the nearest and second nearest frame (NNDR). {judged}; generated frames below number "
        f"{found.rank} of these {found.n_heldout} scores (NNDR {found.nndr_threshold:.3f}) are flagged: with 99 "
        f"scores or more, at most {found.quantile:.0%} of the frames that are no copies. "
        f"{found.dcr_share:.1%} of the generated frames lie closer to their nearest frame (DCR) than "
        f"number {found.rank} of those distances. A copied part of a frame is not found."
    ]
