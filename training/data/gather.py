"""From a data section of a configuration to checked splits: what every run does before its first step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...ccm.errors import TrainingError
from ...ccm.frames.listing import FrameList, list_frames
from ..config import DataConfig
from .check import DatasetReport, check_records
from .split import Splits, split_records


@dataclass(frozen=True)
class Gathered:
    """The frames found, how they are split (None where they cannot be), and the report on them."""

    listing: FrameList
    splits: Splits | None
    report: DatasetReport

    def checked_splits(self) -> Splits:
        """Return the splits; raises TrainingError that lists every error of the report."""
        if self.report.errors or self.splits is None:
            listed = "".join(f"\n  - {error}" for error in self.report.errors)
            raise TrainingError(
                f"{self.listing.path} cannot be trained on:{listed}\n",
                fix="mend or remove what is named above; `python . dataset check` shows all of it",
            )
        return self.splits


def gather(config: DataConfig, seed: int, allow_image_split: bool = False) -> Gathered:
    """Find, split and check the frames of a data set; files that spoil a run are in the report.

    Raises DataError, CohortError or PixelSizeError where the path, the table or the layout cannot be read.
    """
    listing = list_frames(Path(config.path), config.layout, config.um_per_px)
    splits, refused = None, ()
    try:
        splits = split_records(listing.records, config.fractions, seed, allow_image_split)
    except TrainingError as error:
        refused = (f"{error.problem}; {error.fix}",)
    report = check_records(listing.records, splits, listing.orphan_masks)
    others = (error for error in report.errors if not any(error in told for told in refused))
    return Gathered(listing, splits, replace(report, errors=(*refused, *others)))
