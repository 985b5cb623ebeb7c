"""ComfyUI-CCM: synthetic corneal confocal microscopy, generated from nerve masks, measured and trained.

ComfyUI calls `comfy_entrypoint`. Without ComfyUI the package imports just as silently, so that `ccm`,
`training` and the command line can be used alone.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> ComfyExtension:
    """Return the extension that holds every node of the pack."""
    from comfy_api.latest import ComfyExtension, io

    if importlib.util.find_spec("cv2") is None:
        logging.getLogger(__name__).warning(
            "ComfyUI-CCM needs OpenCV. Fix: run its install.py with ComfyUI's Python, then restart."
        )
    from .biomarker_nodes import NODES as MEASURING
    from .nodes import NODES as GENERATING
    from .nodes import provenance

    provenance.register()

    class CCMExtension(ComfyExtension):
        async def get_node_list(self) -> list[type[io.ComfyNode]]:
            return [*GENERATING, *MEASURING]

    return CCMExtension()
