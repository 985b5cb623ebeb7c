"""The Inception-v3 network of the original FID, as features from a local weights file.

The file is the one of 2015-12-05 in its usual PyTorch layout (`weights-inception-2015-12-05-6726825d.pth`, as
torch-fidelity and pytorch-fid read it), or the same tensors as safetensors. It is not shipped with the pack.
The network differs from the Inception-v3 of torchvision in three ways that move the FID: average pooling
leaves padding out of the mean, the last block pools by maximum, and frames are resized the way TensorFlow 1
does it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from ..errors import ExtractorError

INPUT_PX = 299
FEATURES = 2048
SUFFIXES = frozenset({".pth", ".pt", ".safetensors"})
COUNTER = "num_batches_tracked"  # of training; some files have it, none need it

Kernel = int | tuple[int, int]
Convolution = tuple[str, int, Kernel]  # name in the file, output channels, kernel size
Stage = tuple[Convolution, ...]  # convolutions side by side on one input
Branch = tuple[Stage | str, ...]  # stages one after another; AVERAGE or MAXIMUM pools

AVERAGE, MAXIMUM = "average", "maximum"


def _chain(*convolutions: Convolution) -> Branch:
    return tuple((convolution,) for convolution in convolutions)


def _block_35(pooled: int) -> tuple[Branch, ...]:
    """Block of the 35 x 35 grid (Szegedy et al. 2016, figure 5)."""
    return (
        _chain(("branch1x1", 64, 1)),
        _chain(("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        _chain(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        (AVERAGE, *_chain(("branch_pool", pooled, 1))),
    )


def _block_17(width: int) -> tuple[Branch, ...]:
    """Block of the 17 x 17 grid with 7 x 7 convolutions factored into rows and columns (figure 6)."""
    row, column = (1, 7), (7, 1)
    return (
        _chain(("branch1x1", 192, 1)),
        _chain(("branch7x7_1", width, 1), ("branch7x7_2", width, row), ("branch7x7_3", 192, column)),
        _chain(
            ("branch7x7dbl_1", width, 1),
            ("branch7x7dbl_2", width, column),
            ("branch7x7dbl_3", width, row),
            ("branch7x7dbl_4", width, column),
            ("branch7x7dbl_5", 192, row),
        ),
        (AVERAGE, *_chain(("branch_pool", 192, 1))),
    )


def _block_8(pool: str) -> tuple[Branch, ...]:
    """Block of the 8 x 8 grid, whose branches fork into a row and a column (figure 7)."""
    row, column = (1, 3), (3, 1)
    return (
        _chain(("branch1x1", 320, 1)),
        (*_chain(("branch3x3_1", 384, 1)), (("branch3x3_2a", 384, row), ("branch3x3_2b", 384, column))),
        (
            *_chain(("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3)),
            (("branch3x3dbl_3a", 384, row), ("branch3x3dbl_3b", 384, column)),
        ),
        (pool, *_chain(("branch_pool", 192, 1))),
    )


BLOCK_35_TO_17: tuple[Branch, ...] = (
    _chain(("branch3x3", 384, 3)),
    _chain(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
    (MAXIMUM,),
)
BLOCK_17_TO_8: tuple[Branch, ...] = (
    _chain(("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)),
    _chain(
        ("branch7x7x3_1", 192, 1),
        ("branch7x7x3_2", 192, (1, 7)),
        ("branch7x7x3_3", 192, (7, 1)),
        ("branch7x7x3_4", 192, 3),
    ),
    (MAXIMUM,),
)


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch normalisation, rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int, padded: bool) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, outputs, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Parallel branches over one input, concatenated; stride 2 halves the grid in each last stage."""

    def __init__(self, inputs: int, branches: tuple[Branch, ...], stride: int = 1) -> None:
        super().__init__()
        self.branches = branches
        self.stride = stride
        self.outputs = sum(self._add(inputs, branch) for branch in branches)

    def _add(self, channels: int, branch: Branch) -> int:
        """Register the convolutions of a branch under their names in the file; return its output channels."""
        for position, stage in enumerate(branch, start=1):
            if isinstance(stage, str):
                continue
            stride = self.stride if position == len(branch) else 1
            for name, outputs, kernel in stage:
                self.add_module(name, ConvBNReLU(channels, outputs, kernel, stride, padded=stride == 1))
            channels = sum(outputs for _, outputs, _ in stage)
        return channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._run(x, branch) for branch in self.branches], dim=1)

    def _run(self, x: Tensor, branch: Branch) -> Tensor:
        for stage in branch:
            if stage == AVERAGE:
                x = avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
            elif stage == MAXIMUM:
                x = max_pool2d(x, 3, self.stride, padding=1 if self.stride == 1 else 0)
            else:
                x = torch.cat([self.get_submodule(name)(x) for name, _, _ in stage], dim=1)
        return x


def inception() -> nn.Sequential:
    """The network from frames [B,3,299,299] in -1..1 to the last grid [B,2048,8,8], with random weights."""
    network = nn.Sequential()
    for name, layer in (
        ("Conv2d_1a_3x3", ConvBNReLU(3, 32, 3, 2, padded=False)),
        ("Conv2d_2a_3x3", ConvBNReLU(32, 32, 3, 1, padded=False)),
        ("Conv2d_2b_3x3", ConvBNReLU(32, 64, 3, 1, padded=True)),
        ("MaxPool_1", nn.MaxPool2d(3, 2)),
        ("Conv2d_3b_1x1", ConvBNReLU(64, 80, 1, 1, padded=False)),
        ("Conv2d_4a_3x3", ConvBNReLU(80, 192, 3, 1, padded=False)),
        ("MaxPool_2", nn.MaxPool2d(3, 2)),
        ("Mixed_5b", Mixed(192, _block_35(32))),
        ("Mixed_5c", Mixed(256, _block_35(64))),
        ("Mixed_5d", Mixed(288, _block_35(64))),
        ("Mixed_6a", Mixed(288, BLOCK_35_TO_17, stride=2)),
        ("Mixed_6b", Mixed(768, _block_17(128))),
        ("Mixed_6c", Mixed(768, _block_17(160))),
        ("Mixed_6d", Mixed(768, _block_17(160))),
        ("Mixed_6e", Mixed(768, _block_17(192))),
        ("Mixed_7a", Mixed(768, BLOCK_17_TO_8, stride=2)),
        ("Mixed_7b", Mixed(1280, _block_8(AVERAGE))),
        ("Mixed_7c", Mixed(2048, _block_8(MAXIMUM))),
    ):
        network.add_module(name, layer)
    return network.requires_grad_(False).eval()


class InceptionExtractor:
    """Pooled Inception features [B,2048] of grey frames, quantised to 8 bits as FID tools read PNG files."""

    resize = f"8 bits, TensorFlow 1 bilinear to {INPUT_PX} x {INPUT_PX}"
    turns_alike = False

    def __init__(self, network: nn.Sequential, name: str, weights_hash: str) -> None:
        self.name = name
        self.hash = weights_hash
        self.network = network  # runs on whichever device its owner puts it

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        levels = torch.from_numpy(np.round(np.clip(grey, 0.0, 1.0) * 255.0).astype(np.float32))
        device = next(self.network.parameters()).device
        frames = (resize_tf1(levels, INPUT_PX) - 128.0) / 128.0
        with torch.no_grad():
            grid = self.network(frames[:, None].expand(-1, 3, -1, -1).to(device))
        return grid.mean(dim=(2, 3)).double().cpu().numpy()


def load_inception(path: Path) -> InceptionExtractor:
    """Read an Inception weights file; raises ExtractorError if it is unreadable or of another network."""
    with torch.device("meta"):  # no memory and no time for weights that the file replaces
        network = inception()
    state = _read(path)
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith(COUNTER)}
    expected = {name: value.shape for name, value in network.state_dict().items() if name not in counters}
    wrong = [name for name, shape in expected.items() if name not in state or state[name].shape != shape]
    if wrong:
        raise ExtractorError(
            f"{path.name} is not the Inception of the original FID: {len(wrong)} of {len(expected)} tensors"
            f" are missing or of another shape, {wrong[0]} first",
            fix="use weights-inception-2015-12-05-6726825d.pth, which torch-fidelity publishes",
        )
    weights = {name: state[name].float() for name in expected}
    network.load_state_dict(counters | weights, assign=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return InceptionExtractor(network, f"Inception {path.name}", digest)


def resize_tf1(frames: Tensor, size: int) -> Tensor:
    """Resize frames [B,H,W] to [B,size,size] as TensorFlow 1 did: bilinear, corner-anchored, no antialiasing.

    Output pixel i reads input position i * H / size (not pixel centres), clamped at the far edge. FID tools
    keep this for comparability; it aliases fine texture.
    """
    for axis in (1, 2):
        length = frames.shape[axis]
        position = torch.arange(size, dtype=torch.float32) * (length / size)
        low = position.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        fraction = (position - low).unsqueeze(-1) if axis == 1 else position - low
        near, far = frames.index_select(axis, low), frames.index_select(axis, high)
        frames = near + (far - near) * fraction
    return frames


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format and damage raises a type of its own
        raise ExtractorError(
            f"Cannot read the extractor file {path}: {error}", fix="download the file again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ExtractorError(f"{path.name} holds no plain table of tensors", fix="use a state-dict file")
    return state
