"""Base models as the trainer sees them: the host's own model classes, conditioned exactly as at inference."""

from .base import Base, Condition, Tensors
from .registry import load_base

__all__ = ["Base", "Condition", "Tensors", "load_base"]
