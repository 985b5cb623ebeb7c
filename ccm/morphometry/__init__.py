"""Nerve mask -> measured nerve graph -> biomarkers."""

from .adherence import Adherence, centre_line_f1
from .biomarkers import NerveBiomarkers, measure_nerves
from .graph import Nerve, NerveGraph, Role

__all__ = [
    "Adherence",
    "Nerve",
    "NerveBiomarkers",
    "NerveGraph",
    "Role",
    "centre_line_f1",
    "measure_nerves",
]
