"""The tables of a data set for other tools: ours, MONAI's and BIDS's; written from the rows of the manifest."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..frames.table import COLUMNS, TABLE_NAME
from .marks import NOTE

MORE = ("synthetic", "item", "seed", "sha256")  # after those that the trainer knows
MONAI = {"train": "training", "validation": "validation", "test": "test"}


def write(root: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write table.csv, dataset.json, participants.tsv and dataset_description.json; return the number of rows."""
    people: dict[str, str] = {}
    pairs: dict[str, list[str]] = {name: [] for name in MONAI.values()}
    with _whole(root / TABLE_NAME) as table:
        out = csv.DictWriter(table, [*COLUMNS, *MORE], restval="", extrasaction="ignore", lineterminator="\n")
        out.writeheader()
        for row in rows:
            told = {"frame": row["file"], "synthetic": "synthetic", "um_per_px": f"{row['um_per_px']:.6f}"}
            out.writerow({**row, **told})
            pairs[MONAI[row.get("split") or "train"]].append(_pair(row))
            people[row["patient"]] = row["cohort"]
    with _whole(root / "dataset.json") as file:
        file.write(_monai(root.name, pairs))
    with _whole(root / "participants.tsv") as file:
        file.write("participant_id\tgroup\tspecies\tsynthetic\n")
        file.writelines(
            f"sub-{who}\t{group}\thomo sapiens\tsynthetic\n" for who, group in sorted(people.items())
        )
    described = {"Name": root.name, "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
    described |= {"GeneratedBy": [{"Name": "ComfyUI-CCM"}], "HowToAcknowledge": NOTE}
    with _whole(root / "dataset_description.json") as file:
        file.write(json.dumps(described, indent=2) + "\n")
    return sum(map(len, pairs.values()))


def _pair(row: dict[str, Any]) -> str:
    return json.dumps({"image": row["file"]} | ({"label": row["mask"]} if row.get("mask") else {}))


def _monai(name: str, pairs: dict[str, list[str]]) -> str:
    head = {"name": name, "description": NOTE, "modality": {"0": "CCM"}}
    head |= {"labels": {"0": "background", "1": "nerve"}}
    lists = ",\n".join(f'"{split}": [\n' + ",\n".join(lines) + "\n]" for split, lines in pairs.items())
    return json.dumps(head)[:-1] + ",\n" + lists + "}\n"


@contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """Write a text file under another name first, so that a reader finds the old one or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
