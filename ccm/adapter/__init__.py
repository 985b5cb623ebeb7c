"""WDLoRA adapters: the exact mathematics, the file format, and what connects them to PEFT. Host-free."""

from .dora import AdapterLayer, Convention
from .fileformat import AdapterFile, read_adapter, save_adapter
from .from_peft import base_from_peft, layers_from_peft

__all__ = [
    "AdapterFile",
    "AdapterLayer",
    "Convention",
    "base_from_peft",
    "layers_from_peft",
    "read_adapter",
    "save_adapter",
]
