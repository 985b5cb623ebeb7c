"""Trace frames with superccm, inside its own environment: `python peer_superccm_worker.py FRAME.png ...`.

Writes FRAME.superccm.png, the skeleton, beside each frame, and prints what went wrong with the others as
JSON, {path: error}. The whole frame counts as seen: superccm's reader would crop it to its largest part
without black pixels, and tracings would no longer lie on the masks.
"""

import json
import sys

import cv2
import numpy as np
from superccm import api  # pyright: ignore[reportMissingImports]  it has an environment of its own

UM_PER_PX = 400 / 384


def trace(path: str) -> None:
    grey = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    skeleton = api.skel(api.seg(grey), np.full_like(grey, 255), UM_PER_PX)
    cv2.imwrite(path.removesuffix(".png") + ".superccm.png", skeleton)


failures = {}
for frame in sys.argv[1:]:
    try:
        trace(frame)
    except Exception as error:  # a peer may fail in any way; its failures are part of the measurement
        failures[frame] = f"{type(error).__name__}: {error}"
print(json.dumps(failures))
