"""The clinical prompt in free wording: what a cohort may be called, what may be said of its nerves, in any order.

A small grammar, so that the reader learns what words do to each other (no diabetes, neuropathy ruled out,
neuropathy confirmed) and not one template by heart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ccm.cohorts import Cohort

DIABETES = (
    "type 1 diabetes", "type I diabetes", "type one diabetes", "T1D", "T1DM", "DM1", "type 1 diabetes mellitus",
    "type 1 diabetic", "insulin dependent diabetes", "juvenile diabetes", "autoimmune diabetes", "diabetes",
    "diabetic", "diabetes mellitus type 1", "childhood onset diabetes", "IDDM", "T1 diabetes", "long-term diabetes",
)  # fmt: skip
NEUROPATHY = (
    "neuropathy", "peripheral neuropathy", "DPN", "diabetic neuropathy", "polyneuropathy", "DSPN", "nerve damage",
    "diabetic peripheral neuropathy", "neuropathic deficit", "neuropathic complications", "nerve disease",
    "neuropathic symptoms", "distal symmetric polyneuropathy", "clinical neuropathy", "sensory neuropathy",
)  # fmt: skip
ABSENT = (
    "no {}", "without {}", "{} absent", "{} ruled out", "{} excluded", "free of {}", "{} free", "negative for {}",
    "{} negative", "no sign of {}", "no evidence of {}", "no clinical {}", "absence of {}", "lacks {}", "never had {}",
    "does not have {}", "has not developed {}", "not affected by {}", "{} not present", "no known {}", "no {} yet",
    "no {} so far", "no history of {}", "no {} at all", "has no {}", "but without {}", "but no {}", "{} not found",
)  # fmt: skip
PRESENT = (
    "{}", "with {}", "{} present", "{} confirmed", "confirmed {}", "established {}", "and {}", "has {}", "severe {}",
    "complicated by {}", "definite {}", "advanced {}", "positive for {}", "{} positive", "manifest {}", "painful {}",
    "suffers from {}", "developed {}", "symptomatic {}", "diagnosed with {}", "signs of {}", "due to {}",
)  # fmt: skip
HEALTHY = (
    "healthy", "normal", "healthy control", "control", "normal control", "healthy volunteer", "healthy subject",
    "non diabetic", "nondiabetic", "non-diabetic control", "not diabetic", "normal glucose tolerance", "disease free",
    "normoglycaemic", "normoglycemic", "in good health", "no disease", "control group", "comparison subject",
    "reference subject", "healthy person", "healthy eye", "normal cornea", "unremarkable", "nothing abnormal",
    "no pathology", "physiological", "healthy donor", "well", "without any disease", "intact nerves",
)  # fmt: skip
UNHARMED = (
    "normal nerve conduction", "nerve conduction normal", "nerve tests normal", "intact sensation", "uncomplicated",
    "without complications", "no complications", "low risk", "sensation preserved", "normal neurological examination",
    "no loss of sensation", "vibration sense normal", "before neuropathy", "early stage", "feet normal",
)  # fmt: skip
HARMED = (
    "abnormal nerve conduction", "nerve conduction abnormal", "sensory loss", "loss of sensation", "numb feet",
    "neuropathic", "neuropathic patient", "nerve damage confirmed", "loss of vibration sense", "at risk foot",
    "foot ulcer", "neuropathic pain", "high risk", "late stage", "degenerated nerves", "nerve degeneration",
)  # fmt: skip
NERVES = (
    "nerves", "nerve fibres", "nerve fibers", "fibres", "fibers", "corneal nerves", "sub-basal nerves", "plexus",
    "subbasal nerve plexus", "innervation", "nerve density", "CNFL", "CNFD", "nerve fibre density", "branches",
    "branching", "nerve fibre length", "corneal innervation",
)  # fmt: skip
MANY = (
    "dense", "many", "rich", "abundant", "plentiful", "numerous", "high", "long parallel", "long", "parallel",
    "straight", "thick", "bright", "thick bright", "well preserved", "intact", "normal", "clearly visible", "plenty of",
    "lots of", "robust", "dense long parallel", "high density of", "preserved", "well developed", "regular",
)  # fmt: skip
FEWER = (
    "slightly reduced", "mildly reduced", "modestly reduced", "slightly fewer", "a little lower", "mildly lower",
    "slightly sparse", "a bit thinner", "mild loss of", "slight loss of", "a little loss of", "mild decrease in",
    "slightly decreased", "moderately reduced", "somewhat fewer", "mild reduction in", "slightly thinner",
    "minor loss of", "subtle loss of", "borderline",
)  # fmt: skip
FEW = (
    "sparse", "few", "scarce", "thin", "tortuous", "winding", "faint", "sparse thin tortuous", "few thin", "low",
    "very low", "severely reduced", "markedly reduced", "marked loss of", "severe loss of", "pronounced loss of",
    "hardly any", "almost no", "depleted", "degenerated", "beaded", "thin beaded", "barely visible", "poor",
    "twisted", "fragmented", "rarefied", "strongly reduced", "isolated thin", "loss of",
)  # fmt: skip
SETTING = (
    "patient", "subject", "participant", "volunteer", "eye", "cornea", "image", "frame", "scan", "picture",
    "corneal confocal microscopy", "IVCM", "in vivo confocal microscopy", "HRT3 RCM", "confocal image", "adult",
    "sub-basal nerve plexus", "subbasal plexus of the cornea", "a person", "man", "woman", "on examination",
    "aged", "years", "age matched", "central cornea", "whorl", "inferior whorl", "of the cornea", "showing", "case",
    "Toronto criteria", "confocal microscopy frame", "student", "showing the", "for years", "since childhood",
)  # fmt: skip
JOINS = (", ", ", ", " ", "; ", ". ", ": ", " and ")


def free_wording(cohort: Cohort, rng: np.random.Generator) -> str:
    """Describe a cohort in words that a clinician might use."""
    parts = _status(cohort, rng) if rng.random() < 0.85 else []
    if not parts or rng.random() < 0.5:
        parts += [_nerves(cohort, rng) for _ in range(int(rng.integers(1, 3)))]
    parts += [_one(SETTING, rng) for _ in range(int(rng.integers(0, 3)))]
    rng.shuffle(parts)
    text = parts[0]
    for part in parts[1:]:
        text += _one(JOINS, rng) + part
    return text


def _status(cohort: Cohort, rng: np.random.Generator) -> list[str]:
    """What is said of diabetes and neuropathy; who is healthy need not be said to have neither."""
    if cohort is Cohort.CONTROL:
        absent = _one(ABSENT, rng).format(_one(DIABETES, rng))
        unharmed = _one(ABSENT, rng).format(_one(NEUROPATHY, rng))
        said = [absent, _one(HEALTHY, rng), f"{_one(HEALTHY, rng)} {_one(SETTING, rng)}"]
        kept = [text for text in said if rng.random() < 0.5] or [_one(said, rng)]
        return [*kept, unharmed] if rng.random() < 0.15 else kept
    if cohort is Cohort.T1NODPN:
        unharmed = _one(ABSENT, rng).format(_one(NEUROPATHY, rng))
        said = unharmed if rng.random() < 0.75 else _one(UNHARMED, rng)
    else:
        harmed = _one(PRESENT, rng).format(_one(NEUROPATHY, rng))
        said = harmed if rng.random() < 0.75 else _one(HARMED, rng)
        if rng.random() < 0.2:
            return [said]  # neuropathy alone implies the rest
    return [f"{_one(DIABETES, rng)} {said}"] if rng.random() < 0.5 else [_one(DIABETES, rng), said]


def _nerves(cohort: Cohort, rng: np.random.Generator) -> str:
    words = {Cohort.CONTROL: MANY, Cohort.T1NODPN: FEWER, Cohort.T1DPN: FEW}[cohort]
    look, nerves = _one(words, rng), _one(NERVES, rng)
    return f"{look} {nerves}" if rng.random() < 0.75 else f"{nerves} {look}"


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
