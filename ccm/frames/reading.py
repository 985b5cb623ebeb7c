"""One frame or mask from a file, grey, whatever its format and bit depth; HRT footers are cut off.

Only pixels are read: no tag, and so no name of a patient, leaves a file.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ImageError
from ..images import FIELD_PX, LUMA

if TYPE_CHECKING:
    from PIL.Image import Image

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
SUFFIXES = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp"}) | DICOM_SUFFIXES
HRT_FIELD_PX = (FIELD_PX, FIELD_PX)  # width and height
HRT_EXPORT_PX = (FIELD_PX, FIELD_PX + 100)  # with the text footer below the field
FORMATS = "save it as a PNG, TIFF or JPEG file, grey or RGB, of 8 or 16 bits"


def read_frame(path: Path) -> np.ndarray:
    """Read a frame as float32 [H,W] in 0..1: full scale of the file's bit depth is 1.

    Colour is weighted by ITU-R BT.601 and alpha ignored. Of an HRT export, 384 x 484 pixels, the field remains.
    Raises ImageError, naming the file, for one that is missing, empty, damaged, of several pictures, of another
    bit depth, or NaN.
    """
    pixels = _read_dicom(path) if path.suffix.lower() in DICOM_SUFFIXES else _read_picture(path)
    if not np.isfinite(pixels).all():
        raise ImageError(f"{path} holds NaN or infinite values", fix="export the frame again")
    return np.ascontiguousarray(_without_footer(pixels))


def read_mask(path: Path) -> np.ndarray:
    """Read a nerve mask as float32 [H,W] in 0..1, its brightest value made 1, as in files of 0 and 1.

    Raises ImageError like read_frame.
    """
    mask = read_frame(path)
    return mask / max(float(mask.max()), 1e-6)


def frame_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels of what read_frame returns, from the file's header; raises ImageError."""
    return HRT_FIELD_PX if has_footer(path) else _file_size(path)


def has_footer(path: Path) -> bool:
    """Return whether a file has the size of an HRT export with its footer; raises ImageError."""
    return _file_size(path) == HRT_EXPORT_PX


def _file_size(path: Path) -> tuple[int, int]:
    if path.suffix.lower() in DICOM_SUFFIXES:
        tags = _dicom(path, pixels=False)
        return int(tags.Columns), int(tags.Rows)
    with _open(path) as picture:
        return picture.size


def _without_footer(pixels: np.ndarray) -> np.ndarray:
    return pixels[:FIELD_PX] if pixels.shape[::-1] == HRT_EXPORT_PX else pixels


def _read_picture(path: Path) -> np.ndarray:
    with _open(path) as picture:
        try:
            picture.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise _unreadable(path, error) from error
        return _to_grey(picture, path)


def _open(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    if path.is_file() and path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes)", fix="copy or export it again")
    try:
        picture = Image.open(path)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise _unreadable(path, error) from error
    pages = getattr(picture, "n_frames", 1)
    if pages != 1:
        picture.close()
        raise ImageError(f"{path} holds {pages} pictures", fix="save one of them as a file of its own")
    return picture


def _to_grey(picture: Image, path: Path) -> np.ndarray:
    """Turn a picture of any mode into float32 [H,W] in 0..1."""
    mode = picture.mode
    if mode.startswith("I"):
        return _scaled(np.asarray(picture), 65535.0, path)
    if mode == "F":
        return _scaled(np.asarray(picture), 1.0, path)
    if mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("LA"), np.float32)[..., 0] / np.float32(255)
    return np.asarray(picture.convert("RGB"), np.float32) @ LUMA / np.float32(255)


def _scaled(values: np.ndarray, full: float, path: Path) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > full:
        raise ImageError(f"{path} holds values {low:g} to {high:g}; expected 0 to {full:g}", fix=FORMATS)
    return values.astype(np.float32) / np.float32(full)


def _read_dicom(path: Path) -> np.ndarray:
    """Read the pixels of a DICOM file of one frame; dark is 0 whichever its photometric interpretation."""
    tags = _dicom(path, pixels=True)
    try:
        pixels = np.asarray(tags.pixel_array, np.float32)
    except Exception as error:  # the decoders of pydicom raise whatever their codec raises
        raise _unreadable(path, error) from error
    if pixels.ndim == 3 and pixels.shape[-1] == 3:
        pixels = pixels @ LUMA
    if pixels.ndim != 2:
        raise ImageError(f"{path} holds {len(pixels)} pictures", fix="save one of them as a file of its own")
    grey = _scaled(pixels, float(2 ** int(tags.BitsStored) - 1), path)
    return 1 - grey if tags.PhotometricInterpretation == "MONOCHROME1" else grey


def _dicom(path: Path, *, pixels: bool):
    try:
        pydicom = import_module("pydicom")
    except ImportError as error:
        raise ImageError(
            f"{path} is a DICOM file, and pydicom is not installed",
            fix="install pydicom, or save the frame as PNG",
        ) from error
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (OSError, pydicom.errors.InvalidDicomError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{path} cannot be opened: there is no such file", fix="check the path")
    return ImageError(f"{path} cannot be opened as a picture ({error})", fix="give a PNG, JPEG or TIFF file")
