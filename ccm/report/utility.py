"""The result of `python . utility`, as far as a report shows it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

FIX = "name the utility.json that `python . utility` wrote"


@dataclass(frozen=True)
class UtilityDifference:
    """How much one arm gains over another in an endpoint (paired, test patients resampled), and what that shows."""

    endpoint: str
    arm: str
    against: str
    difference: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Utility:
    """The arms that were trained, on how many seeds, tested on how many patients, and their differences."""

    arms: tuple[str, ...]
    differences: tuple[UtilityDifference, ...]
    seeds: int
    patients: int


def read_utility(path: Path) -> Utility:
    """Read a utility.json; raises DataError, naming the file, where it is not one."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return Utility(
            arms=tuple(map(_name, document["arms"])),
            differences=tuple(map(_difference, document["differences"])),
            seeds=_count(document["seeds"]),
            patients=_count(document["patients"]),
        )
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error})", fix=FIX) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no result of `python . utility` ({error!r})", fix=FIX) from error


def _name(arm: Any) -> str:
    return str(arm["name"] if isinstance(arm, dict) else arm)


def _count(given: Any) -> int:
    """A number, or how many are listed."""
    return len(given) if isinstance(given, list) else int(given)


def _difference(given: dict[str, Any]) -> UtilityDifference:
    numbers = [float(given[name]) for name in ("difference", "low", "high")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"a difference is {numbers}")
    texts = [str(given[name]) for name in ("endpoint", "arm", "against")]
    return UtilityDifference(*texts, *numbers, verdict=str(given["verdict"]))
