"""Where the layers of another tool's adapter lie in ComfyUI's own modules.

Tools name the same weight differently, split the host's fused weights (q, k and v are rows of one qkv), and hold
the rows of some in another order. All of it is a `Place`: a module, and for each row of the layer the row of that
module's weight. As every norm of DoRA on the output axis is of one row, layers fuse and split without loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import AdapterError, AdapterMismatchError
from .dialects import PEFT_PREFIX, ForeignAdapter
from .dora import AdapterLayer, Convention, row_norm
from .fileformat import PREFIX


class Place(NamedTuple):
    """A host module, and the row [out] of its weight that each row of the layer is; None: all, in order."""

    module: str
    rows: Tensor | None = None


@dataclass(frozen=True)
class BaseModel:
    """A base checkpoint as the host sees it.

    `shapes` and `weight` go by the host's module name, `places` by every layer name that the host's own LoRA
    loader knows for this model. `weight` reads one weight W0 from disk, in fp32.
    """

    name: str
    shapes: Mapping[str, Sequence[int]]
    places: Mapping[str, Place]
    weight: Callable[[str], Tensor]


def find_place(name: str, base: BaseModel) -> Place | None:
    """Return where a layer lies; besides the name itself, the host's spellings of it are tried."""
    bare = name.removeprefix(PEFT_PREFIX)
    flat = bare.replace(".", "_")
    spellings = (
        name,
        PREFIX + bare,
        f"transformer.{bare}",
        f"lora_unet_{flat.removeprefix('unet_')}",
        f"lycoris_{flat.removeprefix('transformer_')}",
    )
    return next((base.places[s] for s in spellings if s in base.places), None)


def onto_host(layers: Mapping[str, AdapterLayer], base: BaseModel) -> dict[str, AdapterLayer]:
    """Return the layers by host module name, those of one fused weight as one layer.

    Raises AdapterMismatchError for layers that the base has no place for, AdapterError for what cannot be fused.
    """
    members: dict[str, list[tuple[Place, AdapterLayer]]] = {}
    unknown = []
    for name, layer in layers.items():
        place = find_place(name, base)
        if place is None:
            unknown.append(name)
        else:
            members.setdefault(place.module, []).append((place, layer))
    if unknown:
        raise AdapterMismatchError(
            f"{len(unknown)} of {len(layers)} layers are not in {base.name} ({', '.join(unknown[:3])})",
            fix="name the base model that the adapter was trained on",
        )
    return {module: _joined(module, found, base) for module, found in members.items()}


def _joined(module: str, members: Sequence[tuple[Place, AdapterLayer]], base: BaseModel) -> AdapterLayer:
    """Return the one layer that does what its members do to their rows of the weight.

    Strategy: the members' A lie below each other, their B on the block diagonal, so that every row of the weight
    keeps its own member's product. A row that no member has keeps its weight: B = 0, and as its magnitude the
    norm that it has.
    """
    (place, first), *others = members
    if not others and place.rows is None:
        return first
    _check_joinable(module, members, base)
    size = base.shapes[module][0]
    up = torch.zeros(size, sum(layer.rank for _, layer in members))
    scaled = first.convention in (Convention.TRUE_M, Convention.CORRECTED)
    whole = sum(layer.up.shape[0] for _, layer in members) == size
    row_scale = (torch.zeros(size) if whole else row_norm(base.weight(module))) if scaled else first.row_scale
    column = 0
    for place, layer in members:
        rows = torch.arange(size) if place.rows is None else place.rows
        ratio = layer.scale / first.scale
        up[rows, column : column + layer.rank] = layer.up.float().flatten(1) * ratio
        if scaled and row_scale is not None and layer.row_scale is not None:
            row_scale[rows] = layer.row_scale.float()
        column += layer.rank
    down = torch.cat([layer.down.float() for _, layer in members])
    shape = (*up.shape, *first.up.shape[2:])
    return AdapterLayer(down, up.reshape(shape), first.scale, row_scale, first.convention)


def _check_joinable(module: str, members: Sequence[tuple[Place, AdapterLayer]], base: BaseModel) -> None:
    conventions = {layer.convention for _, layer in members}
    places = [place.rows for place, _ in members]
    taken = torch.cat([torch.arange(base.shapes[module][0]) if rows is None else rows for rows in places])
    if len(taken.unique()) != len(taken):
        raise AdapterError(f"Several layers of the file are {module}", fix="remove all but one of them")
    fits = all(
        rows is None or len(rows) == layer.up.shape[0]
        for rows, (_, layer) in zip(places, members, strict=True)
    )
    if not fits or len({tuple(layer.down.shape[1:]) for _, layer in members}) > 1:
        raise AdapterMismatchError(
            f"The layers of {module} are not of the size that it has in {base.name}",
            fix="name the base model that the adapter was trained on",
        )
    if len(conventions) > 1:
        raise AdapterError(
            f"Some parts of {module} have magnitudes and some have none", fix="train all of them alike"
        )
    if Convention.INPUT_AXIS in conventions and len(taken) != members[0][1].up.shape[0]:
        raise AdapterError(
            _input_axis(module), fix="use the file with ComfyUI's own LoRA loader, which is exact for it"
        )
    if any(layer.scale == 0 for _, layer in members):
        raise AdapterError(f"A part of {module} has alpha 0", fix="remove that part from the file")


def _input_axis(module: str) -> str:
    return f"The parts of {module} have magnitudes on the input axis, which one layer cannot hold"


def onto_names(layers: Mapping[str, AdapterLayer], base: BaseModel, prefix: str) -> dict[str, AdapterLayer]:
    """Return host layers by the names with this prefix, fused ones split; undoes `onto_host`.

    Raises AdapterError where a module has no such name.
    """
    names: dict[str, list[tuple[str, Tensor | None]]] = {}
    for name, (module, rows) in base.places.items():
        if name.startswith(prefix):
            names.setdefault(module, []).append((name, rows))
    nameless = [module for module in layers if module not in names]
    if nameless:
        raise AdapterError(
            f"{len(nameless)} of {len(layers)} layers have no {prefix}* name ({', '.join(nameless[:3])})",
            fix="convert to another format",
        )
    split: dict[str, AdapterLayer] = {}
    for module, layer in layers.items():
        whole = next(((name, rows) for name, rows in names[module] if rows is None), None)
        split |= {whole[0]: layer} if whole else _split(module, layer, names[module])
    return split


def _split(
    module: str, layer: AdapterLayer, parts: Sequence[tuple[str, Tensor | None]]
) -> dict[str, AdapterLayer]:
    """Cut a layer into the rows of its parts; each part keeps the columns of B that are not another's alone."""
    if layer.convention is Convention.INPUT_AXIS and len(parts) > 1:
        raise AdapterError(_input_axis(module), fix="convert to kohya, which keeps the layer whole")
    used = layer.up.flatten(1) != 0
    split = {}
    for name, rows in parts:
        assert rows is not None
        others = used.clone()
        others[rows] = False
        mine = used[rows].any(0) | ~others.any(0)
        if not mine.any() and layer.row_scale is None:
            continue
        columns = mine if mine.any() else torch.ones_like(mine)
        row_scale = layer.row_scale if layer.convention in (Convention.LORA, Convention.INPUT_AXIS) else None
        if layer.convention is Convention.TRUE_M and layer.row_scale is not None:
            row_scale = layer.row_scale[rows]
        split[name] = layer._replace(
            down=layer.down[columns], up=layer.up[rows][:, columns], row_scale=row_scale
        )
    return split


def host_layers(adapter: ForeignAdapter, base: BaseModel | None) -> dict[str, AdapterLayer]:
    """Return the layers of a file by host module name.

    Without a base only names that are the host's own, with its prefix, are known for certain; raises AdapterError
    for others.
    """
    if base is not None:
        return onto_host(adapter.layers, base)
    foreign = [name for name in adapter.layers if not name.startswith(PREFIX)]
    if foreign:
        raise AdapterError(
            f"{len(foreign)} of {len(adapter.layers)} layers have names of another tool ({', '.join(foreign[:3])})",
            fix="name the base model with --base, so that its layers can be found",
        )
    return {name.removeprefix(PREFIX): layer for name, layer in adapter.layers.items()}
