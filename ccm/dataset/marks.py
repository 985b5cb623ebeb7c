"""PNG files that say that they are synthetic: checked, marked, and read back.

The mark is a text chunk `ccm`, JSON; whatever else the writer of the file told, such as ComfyUI's graph, stays.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"ccm"
NOTE = "synthetic, not for clinical use"
SYNTHETIC: Mapping[str, Any] = {"synthetic": True, "note": NOTE}
_HEADER_END = len(SIGNATURE) + 25  # the chunk IHDR comes first and has this length


def encode(pixels: np.ndarray, texts: Mapping[str, str] | None = None) -> bytes:
    """Write a picture uint8 [H,W], or [H,W,3] in colour, as a PNG file with these texts, without a mark."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in (texts or {}).items():
        info.add_text(key, text)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", pnginfo=info)
    return content.getvalue()


def mark(content: bytes, told: Mapping[str, Any]) -> bytes:
    """Return a PNG with the mark added in front; no pixel and no other chunk changes."""
    data = KEYWORD + b"\0" + json.dumps({**SYNTHETIC, **told}).encode("ascii")
    body = b"tEXt" + data
    chunk = struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    return content[:_HEADER_END] + chunk + content[_HEADER_END:]


def read_texts(content: bytes) -> dict[str, str]:
    """Return the texts inside a PNG by keyword: the mark is `ccm`, ComfyUI's graph `prompt`; raises ImageError."""
    return {key: value for key, value in _open(content).info.items() if isinstance(value, str)}


def read_mark(content: bytes) -> dict[str, Any]:
    """Return what the mark tells, nothing of a PNG without one; raises ImageError."""
    return json.loads(read_texts(content).get(KEYWORD.decode(), "{}"))


def decode(content: bytes) -> np.ndarray:
    """Return all pixels of a PNG as grey uint8 [H,W], checksums checked; raises ImageError."""
    return np.asarray(_open(content).convert("L"))


def width_px(content: bytes) -> int:
    """Return the width of a PNG, from its header."""
    return struct.unpack(">I", content[16:20])[0]


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def _open(content: bytes) -> Any:
    from PIL import Image

    if not content.startswith(SIGNATURE):
        raise ImageError(
            f"Got {len(content)} bytes that are no PNG file ({content[:24]!r})",
            fix="let the graph end in Save Image or Preview Image",
        )
    try:
        picture = Image.open(io.BytesIO(content), formats=("PNG",))
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"A PNG file is damaged ({error})", fix="make it again") from error
    return picture
