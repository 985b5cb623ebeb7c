"""Fields of a node's schema that only newer hosts know: passed there, and left out where they would be an error."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from comfy_api.latest import io


def search_aliases(*words: str) -> dict[str, Any]:
    """Words under which a node is found too, for hosts whose schema takes them; else nothing."""
    known = {field.name for field in fields(io.Schema)}
    return {"search_aliases": list(words)} if "search_aliases" in known else {}
