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
    """How much one arm gains over another in an endpoint, its 95 % interval, and whether a gain is shown."""

    endpoint: str
    arm: str
    against: str
    difference: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Utility:
    """The arms that were trained, on how many seeds, tested on how many patients, and their differences.

    `is_try` says that there were too few seeds for any claim; `notes` are the study's own.
    """

    arms: tuple[str, ...]
    differences: tuple[UtilityDifference, ...]
    seeds: int
    patients: int
    is_try: bool
    notes: tuple[str, ...]


def read_utility(path: Path) -> Utility:
    """Read a utility.json; raises DataError, naming the file, where it is not one."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return Utility(
            arms=tuple(str(arm["arm"]) for arm in document["arms"]),
            differences=tuple(_difference(one, document["endpoints"]) for one in document["differences"]),
            seeds=len(document["seeds"]),
            patients=int(document["patients"]["test"]),
            is_try=bool(document["try"]),
            notes=tuple(map(str, document["notes"])),
        )
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error})", fix=FIX) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no result of `python . utility` ({error!r})", fix=FIX) from error


def _difference(given: dict[str, Any], titles: dict[str, str]) -> UtilityDifference:
    numbers = [float(given[name]) for name in ("difference", "low", "high")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"a difference is {numbers}")
    endpoint = str(titles.get(given["endpoint"], given["endpoint"]))
    return UtilityDifference(
        endpoint, given["arm"], given["against"], *numbers, verdict=str(given["verdict"])
    )
