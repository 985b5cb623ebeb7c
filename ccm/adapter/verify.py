"""Check an adapter file, and measure what ComfyUI's own LoRA loader would make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import AdapterError
from .dialects import ForeignAdapter, Kind
from .dora import AdapterLayer, Convention, update
from .fileformat import AdapterFile
from .fingerprint import sample
from .fit import check_base, check_fit
from .placing import BaseModel, find_place, onto_host

EXACT = 1e-5  # relative error of the update up to which a loader counts as exact


class Finding(NamedTuple):
    """One thing that was checked; `passed` is None for what is only worth knowing."""

    passed: bool | None
    text: str


class StockLoader(NamedTuple):
    """What the stock loader does: names it does not know, and its error ||dW' - dW|| / ||dW|| over all layers."""

    unknown: list[str]
    error: float


def verify(adapter: ForeignAdapter, base: BaseModel | None) -> list[Finding]:
    """Return what was checked: the file itself, and with a base its names, sizes, origin and exactness."""
    findings = [Finding(False, problem) for problem in adapter.problems]
    findings += [Finding(None, note) for note in adapter.notes]
    if adapter.text_encoder_layers:
        findings.append(
            Finding(
                None, f"{adapter.text_encoder_layers} text encoder layers, of which only keys were checked"
            )
        )
    if adapter.problems or not adapter.layers:
        return findings
    findings.append(
        Finding(True, f"{len(adapter.layers)} layers: pairs complete, shapes consistent, values finite")
    )
    if base is None:
        return [*findings, Finding(None, "names, sizes and exactness: not checked, no base model was given")]
    try:
        layers = onto_host(adapter.layers, base)
        check_fit(layers, base.shapes)
    except AdapterError as error:
        return [*findings, Finding(False, error.problem)]
    findings.append(Finding(True, f"every layer is in {base.name}, in its size ({len(layers)} modules)"))
    return [*findings, _same_base(adapter, layers, base), _exactness(adapter, layers, base)]


def _same_base(adapter: ForeignAdapter, layers: Mapping[str, AdapterLayer], base: BaseModel) -> Finding:
    file = AdapterFile(dict(layers), Convention.CORRECTED, adapter.metadata)
    if adapter.kind is not Kind.CCM or file.base_fingerprint is None:
        return Finding(None, "base: the file does not say which one it was trained on")
    try:
        return Finding(True, check_base(file, {name: sample(base.weight(name)) for name in layers}))
    except AdapterError as error:
        return Finding(False, error.problem)


def _exactness(adapter: ForeignAdapter, layers: Mapping[str, AdapterLayer], base: BaseModel) -> Finding:
    stock = stock_loader(adapter, layers, base)
    promised = (
        adapter.kind is Kind.CCM and adapter.metadata.get("ccm.convention") == Convention.CORRECTED.value
    )
    if not stock.unknown and stock.error <= EXACT:
        return Finding(True, f"ComfyUI's own LoRA loader applies it exactly (error {stock.error:.1e})")
    if stock.unknown:
        text = (
            f"ComfyUI's own LoRA loader does not know {len(stock.unknown)} of its layers ({stock.unknown[0]})"
        )
    else:
        text = f"ComfyUI's own LoRA loader is off by {stock.error:.1%} of what the adapter does"
    if promised:
        return Finding(False, text)
    after = "" if adapter.kind is Kind.CCM else " after `python . adapter convert`"
    return Finding(None, f"{text}; CCM_LoadAdapter is exact{after}")


def stock_loader(adapter: ForeignAdapter, layers: Mapping[str, AdapterLayer], base: BaseModel) -> StockLoader:
    """Return what the stock loader makes of the file; `layers` is the truth by module name.

    Its formula is the one of `Convention.CORRECTED` whatever the file means. Where the rows of a layer lie in
    another order in the host's weight, it reorders B A but not dora_scale.
    """
    unknown = [name for name in adapter.layers if name not in base.places]
    readable: dict[str, AdapterLayer] = {}
    for name, layer in adapter.stock.items():
        place = find_place(name, base)
        if name not in unknown and layer is not None and place is not None:
            if (
                place.rows is not None
                and layer.row_scale is not None
                and layer.convention is Convention.CORRECTED
            ):
                layer = layer._replace(row_scale=layer.row_scale[place.rows - place.rows.min()])
            readable[name] = layer
    stock = onto_host(readable, base)
    wrong = total = 0.0
    for module, layer in layers.items():
        weight = base.weight(module)
        truth = update(weight, layer)
        done = update(weight, stock[module]) if module in stock else 0 * truth
        wrong += float((done - truth).double().square().sum())
        total += float(truth.double().square().sum())
    return StockLoader(unknown, (wrong / total) ** 0.5 if total else 0.0)
