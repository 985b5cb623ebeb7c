"""What `python . evaluate --demonstration` compares: phantom patients as "real", frames of CCM-nano as generated."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from ..batch.client import Client, Graph
from ..ccm.cohorts import Cohort
from ..host import locate, server
from ..host.paths import ROOT
from .option_types import SEEDS

PATIENTS, FRAMES = 60, 2  # phantoms
GENERATED = 20  # frames of each cohort
FIRST_SEED = 30_000  # the embedded model was trained on small seeds
GRAPH = ROOT / "workflows" / "api" / "generate.json"


def make(out: Path, seed: int) -> tuple[Path, Path]:
    """Make both sets below a folder, or what is missing of them, and return where they are."""
    from ..training.data.phantoms import PhantomRequest, write_phantoms

    print("Making phantom patients:", flush=True)
    write_phantoms(PhantomRequest(PATIENTS, FRAMES, FIRST_SEED + seed), out / "real")
    print("Generating frames with CCM-nano:", flush=True)
    generate(out / "generated", seed)
    return out / "real", out / "generated"


def generate(folder: Path, seed: int) -> None:
    """Generate the missing frames, each from a mask and a seed of its own, and list all in a table.csv."""
    from tqdm import tqdm

    plan = {
        folder / cohort.value / f"{n + 1:03}.png": (cohort, n) for cohort in Cohort for n in range(GENERATED)
    }
    missing = {file: frame for file, frame in plan.items() if not file.is_file()}
    with tqdm(total=len(plan), initial=len(plan) - len(missing), unit="frame", file=sys.stderr) as bar:
        if missing:
            with server.running(locate.ready(Path(sys.executable))) as comfy, Client(comfy.address) as client:
                for file, (cohort, number) in missing.items():
                    write(file, frame_of(client, cohort, number, seed))
                    bar.update()
    rows = [[file.relative_to(folder).as_posix(), cohort.value] for file, (cohort, _) in plan.items()]
    with open(folder / "table.csv", "w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([["frame", "cohort"], *rows])


def frame_of(client: Client, cohort: Cohort, number: int, seed: int) -> bytes:
    """The PNG file of one frame."""
    graph: Graph = json.loads(GRAPH.read_text("utf-8"))
    own = (FIRST_SEED + 1000 * seed + GENERATED * list(Cohort).index(cohort) + number) % SEEDS
    graph["mask"]["inputs"] |= {"cohort": cohort.value, "seed": own}
    graph["prompt"]["inputs"]["cohort"] = cohort.value
    graph["sample"]["inputs"]["seed"] = own
    return client.fetch(client.run(graph).files("saved")[0])


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(content)
    part.replace(file)
