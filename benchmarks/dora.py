"""What WDLoRA costs beside plain LoRA: forward and backward pass of one layer, with PEFT and LyCORIS beside it.

The layers stand in the middle of a network: the gradient of the input is needed. All of them share one frozen
weight, the same A, B and magnitudes, and one process; the ratio to plain LoRA is taken within rounds in which
every contender runs once, in an order that rotates, and the median over the rounds counts.

time_ratio_<who>_<layer>: every pass computes the norm, as in training without accumulation.
time_ratio_ours_acc4_<layer>: one pass of a step with its norm and three that share it, over four passes of LoRA.
peak_ratio_<who>_<layer>: most bytes of tensors alive during a pass, the weight and the input among them.
output_error_, gradient_error_: relative difference from PEFT's DoRA, fp32; the largest over x, A, B and m.
With one thread, and no GPU, times are of the processor and not of the clock, which other work on the machine
disturbs. Where there is a GPU, the layers run there in fp32, bf16 and with a weight in fp8.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..training.layers import AdapterConfig, inject
from . import peer_lycoris
from .live_bytes import peak_bytes

TOKENS = 1152
SHAPES = ((3072, 3072), (3072, 12288))  # in, out
RANKS = (16, 64)
ACCUMULATION = 4


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    in_features: int
    out_features: int
    rank: int
    checkpointed: bool
    dtype: torch.dtype
    device: torch.device

    @property
    def key(self) -> str:
        kind = "" if self.dtype is torch.float32 else f"_{str(self.dtype).removeprefix('torch.')}"
        ckpt = "_ckpt" if self.checkpointed else ""
        return f"r{self.rank}_{self.in_features}x{self.out_features}{kind}{ckpt}"


class CastLinear(nn.Linear):
    """A layer that stores fp8 and computes in the dtype of its input, as the host's `manual_cast` layers do."""

    comfy_cast_weights = True

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight.to(input.dtype), self.bias.to(input.dtype))


@dataclass(frozen=True)
class Contender:
    """A layer with an adapter; `renew` is called where an optimizer step has changed the adapter."""

    layer: nn.Module
    adapter: dict[str, nn.Parameter]  # A, B and, but for plain LoRA, m
    renew: Callable[[], None]


@dataclass(frozen=True)
class Pass:
    """What goes in, and comes back: x [1,T,in] and the gradient of the output [1,T,out]."""

    x: Tensor
    g: Tensor
    checkpointed: bool

    def run(self, contender: Contender) -> Tensor:
        layer = contender.layer
        y = checkpoint(layer, self.x, use_reentrant=False) if self.checkpointed else layer(self.x)
        y.backward(self.g)
        return y

    def forget(self, contender: Contender) -> None:
        for leaf in (self.x, *contender.adapter.values()):
            leaf.grad = None


def main(arguments: list[str]) -> int:
    """Measure, print a table, and print all figures as JSON on the last line."""
    options = parse(arguments)
    if options.lycoris:
        peer_lycoris.prepare()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = environment(options)
    print(found)
    print(f"{'layer':34}" + "".join(f"{name:>10}" for name in HEAD), flush=True)
    for case in cases(options):
        figures = measure(case, options)
        print(row(case, figures), flush=True)
        found |= {f"{name}_{case.key}": value for name, value in figures.items()}
    print(json.dumps(found | worst(found)))
    return 0


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python . bench dora", description="Measure what WDLoRA costs beside LoRA.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--pairs", type=int, default=30, help="rounds that are timed (default: 30)")
    parser.add_argument("--peer-pairs", type=int, help="rounds in which the peers run (default: all)")
    parser.add_argument("--threads", type=int, default=cores, help=f"processor threads (default: {cores})")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"tokens of a pass (default: {TOKENS})")
    parser.add_argument("--no-lycoris", dest="lycoris", action="store_false", help="leave LyCORIS out")
    options = parser.parse_args(arguments)
    options.peer_pairs = options.pairs if options.peer_pairs is None else options.peer_pairs
    return options


def environment(options: Namespace) -> dict[str, Any]:
    import peft

    gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if gpu else f"CPU, {options.threads} threads",
        "clock": "cpu" if options.threads == 1 and not gpu else "wall",
        "pairs": options.pairs,
        "peer_pairs": options.peer_pairs,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "peft": peft.__version__,
        "lycoris": peer_lycoris.PACKAGES[0].partition("==")[2] if options.lycoris else None,
    }


def cases(options: Namespace) -> list[Case]:
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    dtypes = (torch.float32, torch.bfloat16, torch.float8_e4m3fn) if gpu else (torch.float32,)
    return [
        Case(*shape, rank, checkpointed, dtype, device)
        for dtype in dtypes
        for shape in SHAPES
        for rank in RANKS
        for checkpointed in (False, True)
    ]


def measure(case: Case, options: Namespace) -> dict[str, float]:
    """Return the figures of one row, without its key."""
    contenders = build(case, lycoris=options.lycoris)
    draw = torch.Generator(case.device).manual_seed(1)

    def noise(features: int) -> Tensor:
        return torch.randn(1, options.tokens, features, generator=draw, device=case.device).to(
            activations(case)
        )

    work = Pass(noise(case.in_features).requires_grad_(), noise(case.out_features), case.checkpointed)
    found = times(contenders, work, options)
    peaks = {name: peak(contender, work) for name, contender in contenders.items()}
    found |= {f"peak_ratio_{name}": value / peaks["lora"] for name, value in peaks.items() if name != "lora"}
    if case.dtype is torch.float32:
        found |= errors(contenders, work)
    return found


def activations(case: Case) -> torch.dtype:
    return torch.float32 if case.dtype is torch.float32 else torch.bfloat16


def build(case: Case, *, lycoris: bool) -> dict[str, Contender]:
    """Plain LoRA, ours, and the peers that can do it, with one weight and the same adapter."""
    torch.manual_seed(0)
    kind = CastLinear if case.dtype.itemsize == 1 else nn.Linear
    base = kind(case.in_features, case.out_features, device=case.device)
    weight = nn.Parameter(base.weight.detach().to(case.dtype), requires_grad=False)
    bias = nn.Parameter(base.bias.detach().to(activations(case)), requires_grad=False)

    def layer() -> nn.Module:
        made = kind(case.in_features, case.out_features, device="meta")
        made.weight, made.bias = weight, bias
        return made

    found = {"lora": injected(layer(), case, "lora", "factored")}
    found["ours"] = injected(layer(), case, "wdlora", "factored")
    if kind is nn.Linear:
        found["peft"] = injected(layer(), case, "wdlora", "peft")
    if lycoris and case.dtype is torch.float32:
        found["lycoris"] = by_lycoris(layer(), case)
    align(found)
    return found


def injected(layer: nn.Module, case: Case, method: Any, norm: Any) -> Contender:
    network = nn.ModuleDict({"layer": layer})
    config = AdapterConfig(method, case.rank, float(case.rank), "layer", norm)
    adapter = inject(network, config, seed=0)
    names = ("down", "up", "m")[: len(adapter.trainable)]
    return Contender(network["layer"], dict(zip(names, adapter.trainable, strict=True)), adapter.refresh)


def by_lycoris(layer: nn.Module, case: Case) -> Contender:
    module = peer_lycoris.attach(layer, case.rank, float(case.rank)).to(case.device)
    adapter = {"down": module.lora_down.weight, "up": module.lora_up.weight, "m": module.dora_scale}
    return Contender(layer, adapter, lambda: None)


@torch.no_grad()
def align(contenders: dict[str, Contender]) -> None:
    """Give every contender the same trained adapter."""
    ours = contenders["ours"].adapter
    ours["up"].normal_(std=0.02)
    ours["m"].mul_(torch.linspace(0.97, 1.03, len(ours["m"]), device=ours["m"].device))
    for contender in contenders.values():
        for name, parameter in contender.adapter.items():
            parameter.copy_(ours[name].view(parameter.shape))
        contender.renew()


def times(contenders: dict[str, Contender], work: Pass, options: Namespace) -> dict[str, float]:
    """Ratios of the time of a pass to that of plain LoRA; the norm is found by the passes of "ours" only."""
    runs = {**contenders, "cached": contenders["ours"]}
    for contender in contenders.values():
        timed(contender, work)
    rounds: list[dict[str, float]] = []
    for number in range(options.pairs):
        taking = [n for n in runs if n in ("lora", "ours", "cached") or number < options.peer_pairs]
        turn = number % len(taking)
        seconds = {}
        for name in taking[turn:] + taking[:turn]:
            if name != "cached":  # which shares the norm of the last pass of "ours"
                runs[name].renew()
            seconds[name] = timed(runs[name], work)
        rounds.append(seconds)
    found = {
        f"time_ratio_{name}": statistics.median(r[name] / r["lora"] for r in rounds if name in r)
        for name in contenders
        if name != "lora"
    }
    shared = [(r["ours"] + (ACCUMULATION - 1) * r["cached"]) / (ACCUMULATION * r["lora"]) for r in rounds]
    found[f"time_ratio_ours_acc{ACCUMULATION}"] = statistics.median(shared)
    found["ms_lora"] = 1e3 * statistics.median(r["lora"] for r in rounds)
    return found


def timed(contender: Contender, work: Pass) -> float:
    gpu = work.x.is_cuda
    clock = time.process_time if torch.get_num_threads() == 1 and not gpu else time.perf_counter
    if gpu:
        torch.cuda.synchronize()
    began = clock()
    work.run(contender)
    if gpu:
        torch.cuda.synchronize()
    took = clock() - began
    work.forget(contender)
    return took


def peak(contender: Contender, work: Pass) -> int:
    """Most bytes alive during a pass that also finds the norm, with what was there before it."""
    contender.renew()
    kept = [*contender.layer.parameters(), *contender.adapter.values(), work.x, work.g]
    before = sum({t.data_ptr(): t.nbytes for t in kept}.values())
    most = before + peak_bytes(lambda: work.run(contender), work.x.device)
    work.forget(contender)
    return most


def errors(contenders: dict[str, Contender], work: Pass) -> dict[str, float]:
    results = {}
    for name in ("ours", "peft"):
        contender = contenders[name]
        contender.renew()
        y = work.run(contender).detach()
        leaves = (work.x, *contender.adapter.values())
        results[name] = y, [leaf.grad for leaf in leaves if leaf.grad is not None]
        work.forget(contender)
    (y, gradients), (true_y, true_gradients) = results["ours"], results["peft"]
    pairs = zip(gradients, true_gradients, strict=True)
    return {
        "output_error": distance(y, true_y),
        "gradient_error": max(distance(got, true) for got, true in pairs),
    }


def distance(got: Tensor, true: Tensor) -> float:
    return float((got - true).norm() / true.norm())


HEAD = {
    "ms LoRA": "ms_lora",
    "ours": "time_ratio_ours",
    "ours/4": f"time_ratio_ours_acc{ACCUMULATION}",
    "PEFT": "time_ratio_peft",
    "LyCORIS": "time_ratio_lycoris",
    "peak": "peak_ratio_ours",
    "peak PEFT": "peak_ratio_peft",
    "y error": "output_error",
    "dy error": "gradient_error",
}


def row(case: Case, figures: dict[str, float]) -> str:
    return f"{case.key:34}" + "".join(f"{cell(figures.get(key)):>10}" for key in HEAD.values())


def cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if value < 1e-2 else f"{value:.3f}"


def worst(found: dict[str, Any]) -> dict[str, float]:
    """The largest of every figure of ours that has a bar."""
    kinds = (
        f"time_ratio_ours_acc{ACCUMULATION}_r",
        "time_ratio_ours_r",
        "peak_ratio_ours_r",
        "output_error_r",
        "gradient_error_r",
    )
    return {
        f"worst_{kind.removesuffix('_r')}": max(v for key, v in found.items() if key.startswith(kind))
        for kind in kinds
    }
