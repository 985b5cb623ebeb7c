"""Put an adapter into a network, and take it out again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from ...ccm.errors import TrainingError
from ..config import AdapterConfig

ADAPTER = "default"  # PEFT's name for the only adapter
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class Injected:
    """An adapter in a network; as a context manager it leaves the network as it was, whatever happens.

    names: the adapted modules. trainable: their adapter parameters, fp32, in the order of the names.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.layers: dict[str, Any] = {
            n: m for n, m in network.named_modules() if hasattr(m, "lora_magnitude_vector")
        }
        parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.names = list(self.layers)
        self.trainable: list[nn.Parameter] = list(parameters.values())
        self._parameters = parameters

    def refresh(self) -> None:
        """Let the row norms be computed again by the next forward pass; call it after every change of A or B."""
        for layer in self.layers.values():
            for magnitude in layer.lora_magnitude_vector.values():
                if hasattr(magnitude, "refresh"):
                    magnitude.refresh()

    def state(self) -> dict[str, Tensor]:
        """Return copies of the adapter parameters by the names that PEFT gives them in the network."""
        return {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Set the adapter parameters; raises TrainingError unless the state is of just this adapter."""
        expected = {name: tuple(p.shape) for name, p in self._parameters.items()}
        got = {name: tuple(value.shape) for name, value in state.items()}
        if got != expected:
            differing = sorted(n for n in got.keys() | expected.keys() if got.get(n) != expected.get(n))
            raise TrainingError(
                f"The adapter state differs from the adapter in {len(differing)} tensors, the first {differing[0]}",
                fix="resume with the method, rank and targets that the run was started with",
            )
        for name, parameter in self._parameters.items():
            parameter.copy_(state[name])
        self.refresh()

    def eject(self) -> None:
        """Put the base layers back in their places; a second call does nothing."""
        for name, layer in self.layers.items():
            parent, _, child = name.rpartition(".")
            setattr(self.network.get_submodule(parent), child, layer.get_base_layer())
        self.layers = {}
        if hasattr(self.network, "peft_config"):
            del self.network.peft_config

    def __enter__(self) -> Injected:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.eject()


def inject(network: nn.Module, config: AdapterConfig, seed: int) -> Injected:
    """Put a new adapter, which changes nothing yet, into `network`; `seed` draws its matrices A.

    The weights of the network are frozen, and stay so. Raises TrainingError where the targets match nothing or
    what cannot be adapted, and where the rank exceeds that of a layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = find_targets(network, config)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]  PEFT takes any number
        use_dora=config.method == "wdlora",
        use_rslora=config.method == "rslora",
        target_modules=config.targets,
        lora_dropout=0.0,
    )
    lora._register_custom_module(_layer_types(targets, config))
    network.requires_grad_(False)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(lora, network, ADAPTER)
    except BaseException:
        Injected(network).eject()
        raise
    return Injected(network)


def find_targets(network: nn.Module, config: AdapterConfig) -> dict[str, nn.Module]:
    """Return the modules that the adapter goes into, by name; raises TrainingError as `inject` does."""
    modules = dict(network.named_modules())
    try:
        expression = re.compile(config.targets)
    except re.error as error:
        raise TrainingError(
            f"adapter.targets {config.targets!r} is no regular expression: {error}", fix="mend the expression"
        ) from error
    targets = {name: module for name, module in modules.items() if expression.fullmatch(name)}
    targets.pop("", None)
    if not targets:
        raise _no_match(config.targets, [name for name, module in modules.items() if _is_adaptable(module)])
    for name, module in targets.items():
        _check_target(name, module, config)
    return targets


def _no_match(targets: str, names: list[str]) -> TrainingError:
    """Say which names come nearest to the expression, read as if it were a name."""
    literal = re.sub(r"[\\^$*+?()\[\]{}|]+", "", targets)
    near = get_close_matches(literal, names, n=5, cutoff=0.3) or names[:5]
    return TrainingError(
        f"adapter.targets {targets!r} matches no module of the network",
        fix=f"match whole names; the nearest of {len(names)} layers are {', '.join(near) or 'none'}",
    )


def _is_linear(module: nn.Module) -> bool:
    """The host's quantised layers are no nn.Linear, and have its name and attributes."""
    return isinstance(module, nn.Linear) or (
        type(module).__name__ == "Linear" and hasattr(module, "in_features")
    )


def _is_adaptable(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) or _is_linear(module)


def _check_target(name: str, module: Any, config: AdapterConfig) -> None:
    if not _is_adaptable(module):
        raise TrainingError(
            f"adapter.targets matches {name}, a {type(module).__name__}",
            fix="let it match linear layers and 2-D convolutions only",
        )
    if isinstance(module, nn.Conv2d):
        plain = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
        if not plain:
            raise TrainingError(
                f"{name} is a convolution with groups, dilation or padding other than zeros",
                fix="leave it out of adapter.targets",
            )
    if config.norm == "peft" and config.method == "wdlora" and module.weight.dtype not in FLOATS:
        raise TrainingError(
            f"{name} is stored as {module.weight.dtype}, which PEFT's own norm cannot read",
            fix='use adapter.norm = "factored"',
        )
    most = _full_rank(module)
    if config.rank > most:
        raise TrainingError(
            f"adapter.rank is {config.rank}, and {name} has rank {most} at most",
            fix=f"use a rank of at most {most}, or leave that layer out of adapter.targets",
        )


def _full_rank(module: Any) -> int:
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        return min(module.out_channels, module.in_channels * height * width)
    return min(module.out_features, module.in_features)


def _layer_types(
    targets: Mapping[str, nn.Module], config: AdapterConfig
) -> dict[type[nn.Module], type[nn.Module]]:
    from . import factored

    if config.norm == "factored":
        linear, convolution = factored.FactoredLinear, factored.FactoredConv2d
    else:
        linear, convolution = factored.Fp32Linear, factored.Fp32Conv2d
    return {type(m): convolution if isinstance(m, nn.Conv2d) else linear for m in targets.values()}
