"""The nodes that generate: base model, adapter, conditioning, masks."""

from __future__ import annotations

from comfy_api.latest import io

from .adapter import LoadAdapter
from .concat import NerveMaskConcat
from .conditioning import ApplyNerveMaskControl, DPNPrompt
from .foundation import LoadFoundation
from .masks import GenerateNerveMask, PrepareNerveMask
from .nano import LoadNano
from .reference import NerveMaskReference
from .save_dataset import SaveDataset

NODES: list[type[io.ComfyNode]] = [
    LoadNano,
    LoadFoundation,
    LoadAdapter,
    DPNPrompt,
    PrepareNerveMask,
    GenerateNerveMask,
    ApplyNerveMaskControl,
    NerveMaskReference,
    NerveMaskConcat,
    SaveDataset,
]
