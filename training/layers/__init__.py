"""The adapter in the network: WDLoRA (DoRA with a factored norm), LoRA and rsLoRA on the host's own layers."""

from ..config import AdapterConfig
from .injection import Injected, inject

__all__ = ["AdapterConfig", "Injected", "inject"]
