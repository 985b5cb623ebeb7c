"""Masks for frames that nobody has traced, by the pack's own segmentation."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from ...ccm.errors import TrainingError
from ...ccm.frames.listing import read_records
from ...ccm.frames.record import Record, load_frame
from ...ccm.frames.table import TABLE_NAME, as_csv
from ...ccm.segmentation import Network, load_segmenter, segment_nerves
from ..checkpoint import replace_durably


def write_tracings(path: Path, out: Path, um_per_px: float | None = None) -> Path:
    """Segment the frames at `path`, write their masks below `out` and a table of both; returns the table.

    Frames stay where they are. What the data set does not say, such as patients, is left open in the table.
    Raises DataError or PixelSizeError as `list_frames` does, ImageError for a frame that cannot be read, and
    TrainingError where `out` holds a table already, which somebody may have filled in.
    """
    from tqdm import tqdm

    table = out / TABLE_NAME
    if table.exists():
        raise TrainingError(f"{table} is there already", fix="name another folder, or remove it")
    records, network = read_records(path, um_per_px=um_per_px), load_segmenter()
    (out / "masks").mkdir(parents=True, exist_ok=True)
    bar = tqdm(enumerate(records), total=len(records), desc="tracing frames", unit="frame", disable=None)
    traced = [
        _traced(record, out, f"{number:05d}_{record.frame.stem}.png", network) for number, record in bar
    ]
    replace_durably(table, as_csv(traced).encode())
    return table


def _traced(record: Record, out: Path, name: str, network: Network) -> Record:
    """Write the mask of one frame; returns its line in the table, the mask relative to it."""
    from PIL import Image

    mask = segment_nerves(load_frame(record)[None], record.um_per_px, network).mask[0]
    content = io.BytesIO()
    Image.fromarray(mask.astype("uint8") * 255).save(content, "PNG")
    replace_durably(out / "masks" / name, content.getvalue())
    return replace(record, frame=record.frame.resolve(), mask=Path("masks") / name)
