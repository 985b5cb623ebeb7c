"""A custom node pack for tests only: the host detects small models with it, and has a small text encoder that sees.

The host reads Qwen2.5-VL at full width only; see tests/host/training/small_models.py.
"""

from __future__ import annotations

from typing import Any

from . import small_models  # put beside this file by the test that starts the host

small_models.register()


class SmallSeeingClip:
    """Outputs a CLIP of the host's Qwen2.5-VL class with small random weights."""

    RETURN_TYPES = ("CLIP",)
    FUNCTION = "load"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def load(self) -> tuple[Any]:
        return (small_models.seeing_clip(),)


NODE_CLASS_MAPPINGS = {"SmallSeeingClip": SmallSeeingClip}
