"""Numbers as text, for the metadata of an adapter file."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import torch
from torch import Tensor


def pack(values: Tensor) -> str:
    """Return values [...] in fp32, little endian, as base64."""
    return base64.b64encode(values.detach().cpu().float().numpy().astype("<f4").tobytes()).decode("ascii")


def unpack(text: str, size: int) -> Tensor:
    """Return the [size] values that `pack` wrote; raises ValueError if the text holds anything else."""
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if len(values) != size:
        raise ValueError(f"{len(values)} values where {size} are expected")
    return torch.from_numpy(values.astype(np.float32))
