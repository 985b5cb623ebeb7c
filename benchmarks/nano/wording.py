"""Is a cohort recognised in words of the user's own? By the nearest embedding, and by what is drawn."""

from __future__ import annotations

import numpy as np

from ...ccm.cohorts import Cohort, clinical_prompt
from ...ccm.prompt_encoder import encode_prompts, load_prompt_encoder
from ...ccm.prompt_reader import load_prompt_reader
from .paraphrases import PARAPHRASES
from .rows import Row
from .scenes import COHORTS, FIRST_SEED, Bench
from .studio import FEW_STEPS, Wish


def wording_rows(bench: Bench) -> list[Row]:
    """Share of paraphrases that land with the clinical prompt of their cohort."""
    texts = [(cohort, text) for cohort in COHORTS for text in PARAPHRASES[cohort]]
    by_embedding = _nearest(
        _embeddings([text for _, text in texts]), _embeddings([clinical_prompt(c) for c in COHORTS])
    )
    scene = bench.scenes[0]

    def drawn(prompts: list[str], label: str) -> np.ndarray:
        wishes = [Wish(text, FIRST_SEED, scene.mask_file, FEW_STEPS) for text in prompts]
        return np.stack([frame.grey.ravel() for frame in bench.studio.frames(wishes, label)])

    by_look = _nearest(
        drawn([text for _, text in texts], "paraphrases"),
        drawn([clinical_prompt(c) for c in COHORTS], "clinical prompts"),
    )
    truth = [cohort for cohort, _ in texts]
    return [
        Row(
            "paraphrases_embedding",
            "cohort by the nearest embedding",
            _share(by_embedding, truth),
            "at least",
            0.9,
            True,
            _split(by_embedding, truth),
        ),
        Row(
            "paraphrases_drawn",
            "cohort by the frame that is drawn",
            _share(by_look, truth),
            "at least",
            0.9,
            True,
            _split(by_look, truth),
        ),
    ]


def _embeddings(texts: list[str]) -> np.ndarray:
    """Pooled embeddings [N,d] of unit length, of texts as the reader passes them on."""
    read = load_prompt_reader().clinical
    pooled = encode_prompts(*load_prompt_encoder(), [read(text) for text in texts]).pooled.numpy()
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def _nearest(points: np.ndarray, centres: np.ndarray) -> list[Cohort]:
    from scipy.spatial.distance import cdist

    return [COHORTS[k] for k in cdist(points, centres).argmin(axis=1)]


def _share(found: list[Cohort], truth: list[Cohort]) -> float:
    return float(np.mean([f is t for f, t in zip(found, truth, strict=True)]))


def _split(found: list[Cohort], truth: list[Cohort]) -> str:
    right = {c: sum(f is t is c for f, t in zip(found, truth, strict=True)) for c in COHORTS}
    return ", ".join(f"{c} {n} of {truth.count(c)}" for c, n in right.items())
