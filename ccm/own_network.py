"""A segmentation network of the user's own, as an ONNX or a TorchScript file.

The contract: one grey frame in, float32 [1,1,H,W] in 0..1 at HRT3 pixel size (1.0417 um); the probability that each
pixel is nerve out, H x W values in 0..1 (any axes of length one besides). Normalisation is the network's own affair.

Trust: an ONNX file holds a graph of known operators. A TorchScript file is a zip archive with a program, which
runs with the rights of this process; load one only from people you trust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import NetworkError

ONNX_SUFFIXES = frozenset({".onnx"})
TORCHSCRIPT_SUFFIXES = frozenset({".pt", ".ts", ".torchscript"})
SUFFIXES = ONNX_SUFFIXES | TORCHSCRIPT_SUFFIXES
CONTRACT = "one float32 input [1,1,H,W] of grey 0..1, one output of H x W nerve probabilities in 0..1"
SLACK = 1e-3  # rounding beyond 0 and 1 that is clipped


@dataclass(frozen=True)
class OwnNetwork:
    """A user's network: `answer` maps a frame [1,1,H,W] to any array of H x W values."""

    name: str
    weights_hash: str
    answer: Callable[[np.ndarray], np.ndarray]

    def probability(self, grey: np.ndarray) -> np.ndarray:
        """Nerve probability float32 [B,H,W] of frames [B,H,W] in 0..1; raises NetworkError."""
        return np.stack([self._one(np.ascontiguousarray(frame, np.float32)) for frame in grey])

    def _one(self, frame: np.ndarray) -> np.ndarray:
        try:
            answer = np.asarray(self.answer(frame[None, None]), np.float32)
        except Exception as error:  # runtimes raise types of their own
            told = str(error).strip().splitlines() or [type(error).__name__]
            raise NetworkError(
                f"{self.name} fails on a frame of {frame.shape[1]} x {frame.shape[0]} pixels: {told[-1][:300]}",
                fix=f"export it with variable height and width; expected is {CONTRACT}",
            ) from error
        return _checked(answer, frame.shape, self.name)


def _checked(answer: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    if tuple(side for side in answer.shape if side != 1) != tuple(side for side in shape if side != 1):
        raise NetworkError(
            f"{name} answers with shape {answer.shape} to a frame of {shape}", fix=f"expected is {CONTRACT}"
        )
    if not np.isfinite(answer).all():
        raise NetworkError(f"{name} answers NaN or infinite values", fix="export it again in float32")
    low, high = float(answer.min()), float(answer.max())
    if low < -SLACK or high > 1 + SLACK:
        raise NetworkError(
            f"{name} answers values from {low:.3g} to {high:.3g}; expected probabilities in 0..1",
            fix="end the network with a sigmoid",
        )
    return answer.reshape(shape).clip(0.0, 1.0)


def load_own_network(path: Path) -> OwnNetwork:
    """Load an ONNX or TorchScript file; raises NetworkError for one that is missing, of another kind or damaged."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise NetworkError(
            f"{path.name} is no network file", fix=f"give one of {', '.join(sorted(SUFFIXES))}: {CONTRACT}"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NetworkError(
            f"{path} cannot be read ({error.strerror})", fix="name an existing file"
        ) from error
    answer = _onnx(path) if suffix in ONNX_SUFFIXES else _torchscript(path)
    return OwnNetwork(path.name, hashlib.sha256(data).hexdigest(), answer)


def _onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]  optional
    except ImportError as error:
        raise NetworkError(
            f"{path.name} needs onnxruntime, which is not installed",
            fix="run `pip install onnxruntime` in ComfyUI's environment, or export the network as TorchScript",
        ) from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own
        raise _damaged(path, error) from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise NetworkError(f"{path.name} has {len(inputs)} inputs", fix=f"expected is {CONTRACT}")
    name = inputs[0].name
    return lambda frame: np.asarray(session.run(None, {name: frame})[0])


def _torchscript(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import warnings

    import torch

    try:
        with torch.inference_mode(False), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.jit is there to stay for files that exist
            network = torch.jit.load(str(path), map_location="cpu").eval().float()
    except Exception as error:  # torch.jit raises RuntimeError, ValueError and types of its own
        raise _damaged(path, error) from error

    def answer(frame: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(frame)).numpy()

    return answer


def _damaged(path: Path, error: Exception) -> NetworkError:
    told = str(error).strip().splitlines() or [type(error).__name__]
    return NetworkError(f"{path.name} cannot be loaded ({told[0][:300]})", fix="export the network again")
