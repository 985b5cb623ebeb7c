"""A report as text, as JSON, and as files."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from . import html
from .evaluation import EvaluationReport
from .figures import Figure
from .page import NOTE, to_html
from .words import limits, verdicts

FORMAT = "ccm-evaluation-1"
COLUMNS = 100  # of the text


def describe(report: EvaluationReport) -> str:
    """The answers and what cannot be concluded, as plain text."""
    lines = [f"{report.generated.frames} generated frames against {report.real.frames} real ones", ""]
    for one in verdicts(report):
        lines += [f"{one.pillar}: {one.status.value.upper()}", _wrapped(one.answer, "  ", "  ")]
    lines += ["", "What cannot be concluded:", *(_wrapped(text, "- ", "  ") for text in limits(report))]
    return "\n".join([*lines, "", NOTE])


def _wrapped(text: str, first: str, others: str) -> str:
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def to_json(report: EvaluationReport) -> str:
    """Every number of the report, its answers, and the sentences about them."""
    said = [asdict(one) for one in verdicts(report)]
    document = {"format": FORMAT, "note": NOTE, "verdicts": said, "limits": limits(report), **asdict(report)}
    return json.dumps(_plain(document), indent=2, allow_nan=False) + "\n"


def write_report(report: EvaluationReport, figures: Sequence[Figure], folder: Path) -> Path:
    """Write report.html, report.json and figures/*.png into a folder, each in one go, and return the first."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for figure in figures:
        _write(folder / "figures" / f"{figure.name}.png", html.to_png(figure.picture))
    _write(folder / "report.json", to_json(report).encode())
    _write(folder / "report.html", to_html(report, figures).encode())
    return folder / "report.html"


def _plain(value: Any) -> Any:
    """Dictionaries, lists, texts and numbers only; null where a number is not finite."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)
