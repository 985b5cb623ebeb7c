"""Run a public CCM tool inside its own environment: `python public_tools_worker.py TOOL trace|measure`.

Standard input holds JSON, [[path of a PNG, um per pixel or null], ...]; the last line of the output is JSON,
{path: record}. `trace` writes the skeleton beside each frame, as FRAME.TOOL.png; its records are empty.
`measure` records cnfl, cnfd, cnbd, segmentation_ms and post_ms, in CPU time, after one run to warm up. Where a tool
fails, the record is {"error": ...}. The whole frame counts as seen: superccm's reader would crop it to its largest
part without black pixels, and tracings would no longer lie on the masks.
"""

import contextlib
import importlib
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]  the tools have an environment of their own

UM_PER_PX = 400 / 384

Values = tuple[float, float, float]  # CNFL, CNFD, CNBD


class Superccm:
    def __init__(self) -> None:
        self.api = importlib.import_module("superccm.api")

    def segment(self, grey: np.ndarray) -> np.ndarray:
        return self.api.seg(grey)

    def skeleton(self, binary: np.ndarray, um_per_px: float) -> np.ndarray:
        return self.api.skel(binary, np.full_like(binary, 255), um_per_px)

    def measure(self, grey: np.ndarray, binary: np.ndarray, um_per_px: float) -> Values:
        seen = np.full_like(grey, 255)
        graph = self.api.grfy(grey, self.api.skel(binary, seen, um_per_px))
        graph, trunks = self.api.trunk(graph, seen)
        found = self.api.meas(graph, binary, trunks, grey.size, um_per_px)
        return found["CNFL (mm/mm2)"], found["CNFD (n/mm2)"], found["CNBD (n/mm2)"]


class Aiccm:
    """It knows frames of 384 x 384 pixels and 400 um only."""

    def __init__(self) -> None:
        self.tool = importlib.import_module("aiccm")
        self.processor: Any = importlib.import_module("aiccm.metrics.processor")

    def segment(self, grey: np.ndarray) -> np.ndarray:
        return self.tool.get_binary(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))

    def skeleton(self, binary: np.ndarray, um_per_px: float) -> np.ndarray:
        return self.tool.get_skeleton(binary)

    def measure(self, grey: np.ndarray, binary: np.ndarray, um_per_px: float) -> Values:
        self.processor.segmenter = lambda frame: binary  # it would segment a second time
        found = self.tool.get_metrics(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
        return found["CNFL"], found["CNFD"], found["CNBD"]


def one_thread(session: Any) -> Callable[..., Any]:
    """A session that runs on one core: on more, its threads wait for each other, and that counts as CPU time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return lambda model: session(model, sess_options=options)


def trace(tool: Any, name: str, path: str, um_per_px: float) -> dict:
    grey = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    skeleton = tool.skeleton(tool.segment(grey), um_per_px)
    cv2.imwrite(path.removesuffix(".png") + f".{name}.png", skeleton)
    return {}


def measure(tool: Any, name: str, path: str, um_per_px: float) -> dict:
    grey = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    start = time.process_time()
    binary = tool.segment(grey)
    middle = time.process_time()
    values = [float(value) for value in tool.measure(grey, binary, um_per_px)]
    end = time.process_time()
    if not all(map(math.isfinite, values)):
        raise ValueError(f"not a number: {values}")
    times = {"segmentation_ms": 1e3 * (middle - start), "post_ms": 1e3 * (end - middle)}
    return dict(zip(("cnfl", "cnfd", "cnbd"), values, strict=True)) | times


def attempt(task: Callable[..., dict], *arguments: Any) -> dict:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return task(*arguments)
    except Exception as error:  # a public tool may fail in any way; its failures are part of the measurement
        return {"error": f"{type(error).__name__}: {error}"}


cv2.setNumThreads(1)
onnxruntime.InferenceSession = one_thread(onnxruntime.InferenceSession)
name, task = sys.argv[1], {"trace": trace, "measure": measure}[sys.argv[2]]
frames = [(path, um_per_px or UM_PER_PX) for path, um_per_px in json.load(sys.stdin)]
tool = {"superccm": Superccm, "aiccm": Aiccm}[name]()
if task is measure and frames:
    attempt(task, tool, name, *frames[0])
print(json.dumps({path: attempt(task, tool, name, path, um_per_px) for path, um_per_px in frames}))
