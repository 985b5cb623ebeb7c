"""The plan of a data set: how many frames of which cohorts, from which masks, by which graph, and what is good enough.

A plan is a TOML file with one table for each dataclass below. Each key documents itself, so that the reader of a
file, the error messages and docs/batch.md say the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..ccm.cohorts import parse_cohort
from ..ccm.documented import Reader, key, read_tables, typed
from ..ccm.errors import CohortError, PlanError
from ..host.paths import OUTPUT, ROOT

EXAMPLE = "copy one of workflows/plans and edit it"
DEFAULT_GRAPH = ROOT / "workflows" / "api" / "batch.json"
Value = str | bool | int | float
Setting = Value | tuple[float, float]  # of a slot: one value, or a range to draw from


@dataclass(frozen=True)
class DatasetPlan:
    """What the data set is as a whole."""

    name: str = key("name of the data set")
    folder: str = key(
        "folder of the data set, relative to where the command is typed; empty: output/batch/NAME", ""
    )
    seed: int = key("fixes every mask, value and frame", 0, 0, 2**63 - 1)
    frames_per_patient: int = key("frames of each invented patient, half of them of either eye", 4, 1, 999)
    size_px: int = key("pixels of a side; a side is one field of 400 um", 384, 64, 2048)
    fractions: tuple[float, ...] = key(
        "shares of the patients for training, validation and test", (0.7, 0.15, 0.15), 0, 1
    )


@dataclass(frozen=True)
class CohortPlan:
    """One cohort, Control, T1NoDPN or T1DPN: [cohorts.Control]. A target of 0 is drawn from the mask source."""

    count: int = key("frames of the cohort", low=1, high=10_000_000)
    cnfl: float = key("nerve fibre length of the masks, mm/mm2", 0.0, 0, 50)
    cnfd: float = key("main fibres per mm2", 0.0, 0, 75)
    cnbd: float = key("branch points per mm2", 0.0, 0, 150)
    tortuosity: float = key("sideways wander of the fibres, um RMS", 0.0, 0, 12)


@dataclass(frozen=True)
class MaskPlan:
    """Where the nerve masks come from."""

    source: Literal["reference", "targets", "table", "folder"] = key(
        "reference: grown by the cohort's reference values, some of them assumed; targets: by the targets of the "
        "cohort alone; table: like the rows of a table of `python . measure`; folder: your own",
        "reference",
    )
    path: str = key("the table or the folder of masks, relative to the plan", "")
    width_px: float = key("width of every nerve in pixels", 3.0, 0.5, 15)


@dataclass(frozen=True)
class GraphPlan:
    """The graph that makes a frame, in ComfyUI's API format."""

    file: str = key(
        "the graph, relative to the plan; empty: the embedded family, workflows/api/batch.json", ""
    )
    slots: Mapping[str, tuple[str, ...]] = key("slot = node.input, or several", None)


@dataclass(frozen=True)
class QualityPlan:
    """What a frame must be to be kept; what is not is drawn again with another seed."""

    measure: bool = key("trace every frame and write its biomarkers and adherence into the manifest", True)
    gate: bool = key("reject frames that the quality gate finds unfit to be measured", True)
    least_adherence: float = key("least centre-line F1 between the traced frame and its mask", 0.8, 0, 1)
    redraws: int = key("how often a rejected frame is drawn again before its item is left out", 3, 0, 100)

    @property
    def limits(self) -> list[bool | float]:
        """What a frame is judged by; a frame that is rejected once is rejected again by the same limits."""
        return [self.measure, self.gate, self.least_adherence]


@dataclass(frozen=True)
class ServerPlan:
    """How the servers are used."""

    window: int = key("items that a server has at a time", 3, 1, 64)
    tries: int = key("how often an item may fail by an error of its own before it is set aside", 3, 1, 100)
    answer_s: float = key("longest wait for one answer of a server", 30.0, 0.1, 3600)
    stall_s: float = key("longest silence of a server that has work", 600.0, 0.5, 86400)
    patience_s: float = key("how long a server may be gone before it is given up", 900.0, 0.1, 604800)


@dataclass(frozen=True)
class Plan:
    """A whole plan. settings: slot -> value, or (low, high) to draw from for each item."""

    path: Path
    dataset: DatasetPlan
    cohorts: Mapping[str, CohortPlan]
    mask: MaskPlan
    graph: GraphPlan
    settings: Mapping[str, Setting]
    quality: QualityPlan
    servers: ServerPlan

    @property
    def total(self) -> int:
        """How many items the plan has."""
        return sum(cohort.count for cohort in self.cohorts.values())

    @property
    def folder(self) -> Path:
        """Where the data set lies."""
        return Path(self.dataset.folder) if self.dataset.folder else OUTPUT / "batch" / self.dataset.name

    @property
    def graph_file(self) -> Path:
        return self.path.parent / self.graph.file if self.graph.file else DEFAULT_GRAPH

    @property
    def mask_path(self) -> Path:
        return self.path.parent / self.mask.path


SECTIONS: dict[str, type] = {
    "dataset": DatasetPlan,
    "mask": MaskPlan,
    "quality": QualityPlan,
    "servers": ServerPlan,
}


def read_plan(path: Path, settings: tuple[str, ...] = ()) -> Plan:
    """Read a plan; each setting "table.key=value" replaces a key.

    Raises PlanError naming the file, the key, and the nearest key that exists.
    """
    return parse_plan(read_tables(path, settings, PlanError, EXAMPLE), path)


def parse_plan(tables: Mapping[str, Any], path: Path) -> Plan:
    """Return the checked plan of nested tables that lie at `path`; raises PlanError."""
    reader = Reader(str(path), PlanError)
    known = [*SECTIONS, "cohorts", "graph", "settings"]
    reader.known_only(tables, dict.fromkeys(known), str(path), "table")
    parsed = {name: reader.section(kind, tables.get(name, {}), name) for name, kind in SECTIONS.items()}
    plan = Plan(
        path=path,
        cohorts=_cohorts(reader, tables.get("cohorts", {})),
        graph=_graph(reader, tables.get("graph", {})),
        settings=_settings(reader, tables.get("settings", {})),
        **parsed,
    )
    _check(plan)
    return plan


def documented() -> dict[str, list[tuple[Any, Any]]]:
    """Return the keys of every table with their types, for the documentation."""
    kinds = {**SECTIONS, "cohorts.NAME": CohortPlan, "graph": GraphPlan}
    return {name: typed(kind) for name, kind in kinds.items()}


def _cohorts(reader: Reader, table: Any) -> dict[str, CohortPlan]:
    if not isinstance(table, Mapping) or not table:
        raise PlanError(f"{reader.source} asks for no cohort", fix="add [cohorts.Control] with count = 10")
    cohorts = {}
    for name, keys in table.items():
        try:
            cohort = parse_cohort(name).value
        except CohortError as error:
            raise PlanError(f"{reader.source} [cohorts.{name}]: {error.problem}", fix=error.fix) from error
        cohorts[cohort] = reader.section(CohortPlan, keys, f"cohorts.{name}")
    return cohorts


def _graph(reader: Reader, table: Any) -> GraphPlan:
    slots = table.get("slots", {}) if isinstance(table, Mapping) else {}
    if not isinstance(slots, Mapping):
        raise PlanError(
            f"{reader.source}: graph.slots is {slots!r}", fix="write [graph.slots] above the slots"
        )
    listed = {}
    for name, places in slots.items():
        entries = [places] if isinstance(places, str) else places
        if not (isinstance(entries, list) and entries and all(isinstance(entry, str) for entry in entries)):
            raise PlanError(
                f"{reader.source}: graph.slots.{name} is {places!r}", fix='write it as "Node title.input"'
            )
        listed[name] = tuple(entries)
    rest = {n: v for n, v in table.items() if n != "slots"} if isinstance(table, Mapping) else table
    parsed: GraphPlan = reader.section(GraphPlan, rest, "graph")
    return GraphPlan(parsed.file, listed)


def _settings(reader: Reader, table: Any) -> dict[str, Setting]:
    if not isinstance(table, Mapping):
        raise PlanError(f"{reader.source}: settings is {table!r}", fix="write [settings] above its keys")
    settings: dict[str, Setting] = {}
    for name, value in table.items():
        if isinstance(value, list):
            numbers = len(value) == 2 and all(type(number) in (int, float) for number in value)
            if not (numbers and value[0] <= value[1] and all(map(math.isfinite, value))):
                raise PlanError(
                    f"{reader.source}: settings.{name} is {value!r}", fix="write a range as [low, high]"
                )
            settings[name] = (value[0], value[1])
        elif isinstance(value, str | bool | int | float):
            settings[name] = value
        else:
            raise PlanError(
                f"{reader.source}: settings.{name} is {value!r}", fix="write a text, number or range"
            )
    return settings


def _check(plan: Plan) -> None:
    """What one key alone cannot tell."""
    fractions = plan.dataset.fractions
    needs_path = plan.mask.source in ("table", "folder")
    empty = [name for name, c in plan.cohorts.items() if not (c.cnfl and c.cnfd)]
    name = plan.dataset.name
    problems = {
        "dataset.name": (
            not name or any(c in '/\\:*?"<>|' or ord(c) < 32 for c in name) or name in (".", ".."),
            "a name that a folder can have",
        ),
        "dataset.fractions": (
            len(fractions) != 3 or not math.isclose(sum(fractions), 1, abs_tol=1e-6),
            "three numbers that add up to 1, for training, validation and test",
        ),
        "dataset.size_px": (plan.dataset.size_px % 8 != 0, "a multiple of 8"),
        "mask.path": (
            needs_path != bool(plan.mask.path),
            f"a path with the source {plan.mask.source}" if needs_path else "empty with this source",
        ),
        "mask.source": (
            plan.mask.source == "targets" and bool(empty),
            f"another source, or cnfl and cnfd for {', '.join(empty)}",
        ),
    }
    for child, (is_wrong, expected) in problems.items():
        if is_wrong:
            table, _, leaf = child.partition(".")
            value = getattr(getattr(plan, table), leaf)
            raise PlanError(f"{plan.path}: {child} is {value!r}, expected {expected}", fix="correct it")
