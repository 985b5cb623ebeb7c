"""Every error that a user can cause.

CCMError
├── ImageError           a frame that cannot be used (NaN, empty, wrong shape)
├── MaskError            a nerve mask that cannot be used (empty, wrong aspect, wrong count)
├── RouteError           a way for the mask into a base model that this base does not have
├── DataError            a folder or table of frames that cannot be used
├── PixelSizeError       a pixel size that is not a positive number of micrometres
├── CohortError          an unknown cohort
├── TargetError          biomarker targets that no nerve tree can reach
├── WeightsError         an embedded weight file that is missing or damaged
├── NetworkError         a segmentation network of the user's own that cannot be used
├── AdapterError         an adapter file that cannot be read
│   └── AdapterMismatchError   a readable adapter that does not belong to this model
├── ExtractorError       a feature extractor that cannot be used
├── TrainingError        a training configuration or data set that cannot be used
├── PlanError            a plan of a batch that cannot be used
├── HostError            a ComfyUI that cannot be found, provisioned, started or reached
└── GraphError           a graph that ComfyUI refuses or cannot run to its end
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial


class CCMError(Exception):
    """A problem that the user can mend; the message says what is wrong and what to do."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem.rstrip('.')}. Fix: {fix.rstrip('.')}.")
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[Callable[[str], CCMError], tuple[str]]:
        """Pickle by what made it, so that an error of another process arrives whole."""
        return partial(type(self), fix=self.fix), (self.problem,)


class ImageError(CCMError):
    """A frame that cannot be used."""


class MaskError(CCMError):
    """A nerve mask that cannot be used."""


class RouteError(CCMError):
    """A way for the mask into a base model that this base does not have."""


class DataError(CCMError):
    """A folder or table of frames that cannot be used."""


class PixelSizeError(CCMError):
    """A pixel size that is not a positive number of micrometres."""


class CohortError(CCMError):
    """An unknown cohort."""


class TargetError(CCMError):
    """Biomarker targets that no nerve tree can reach."""


class WeightsError(CCMError):
    """An embedded weight file that is missing or damaged."""


class NetworkError(CCMError):
    """A segmentation network of the user's own that cannot be used."""


class AdapterError(CCMError):
    """An adapter file that cannot be read."""


class AdapterMismatchError(AdapterError):
    """A readable adapter that does not belong to this model."""


class ExtractorError(CCMError):
    """A feature extractor that cannot be used."""


class TrainingError(CCMError):
    """A training configuration or data set that cannot be used."""


class PlanError(CCMError):
    """A plan of a batch that cannot be used."""


class HostError(CCMError):
    """A ComfyUI that cannot be found, provisioned, started or reached."""


class GraphError(CCMError):
    """A graph that ComfyUI refuses or cannot run to its end."""
