"""A control net of one's own, which takes nerve masks as they are: begun from the base, trained, written for the host.

The net is a copy of the base's first blocks whose outputs and whose way in for the mask begin at zero (Zhang et al.
2023, arXiv 2302.05543), so that the first step changes nothing. It is one of the host's own classes and is written
in the names that the stock ControlNetLoader reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..ccm.adapter.base_weight import base_weight
from ..ccm.errors import TrainingError
from . import objective
from .bases.host_base import HostBase, keep_inputs, norms
from .bases.routes import ControlRoute, NoRoute
from .blocks import find_blocks
from .checkpoint import replace_durably
from .config import ObjectiveConfig, TrainConfig
from .data.sampler import Sampler
from .prepare import Prepared
from .task import bare

CONTROL_NET = "control_net.safetensors"
COLOURS = 3  # of the picture that a net of pixels takes
UNET_ZERO = ("zero_convs.", "middle_block_out.", "input_hint_block.14")
DIT_ZERO = ("controlnet_blocks.", "pos_embed_input", "controlnet_x_embedder")


@dataclass(frozen=True)
class Format:
    """How a family's control net is made, loaded by the host, and written.

    `build(config, blocks)` makes the net of the base's `unet_config`; modules in `zero` begin at zero; `names` turns
    the state of the net into that of a file.
    """

    build: Callable[[dict[str, Any], int], nn.Module]
    zero: tuple[str, ...] = DIT_ZERO
    latent_format: str = ""  # of the hint, a class of comfy.latent_formats; "" for a picture
    extra: tuple[str, ...] = ("y",)
    names: Callable[[dict[str, Tensor], int], dict[str, Tensor]] = lambda state, blocks: state


def formats() -> dict[str, Format]:
    """Return the formats by family; a function, because they are made of the host's classes."""
    from .nano.base import control_to_diffusers

    def diffusers(state: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
        depth = state["x_embedder.proj.weight"].shape[0] // 64
        return control_to_diffusers(state, depth, blocks)

    unet, sd3 = Format(_unet, UNET_ZERO), Format(_mmdit, latent_format="SD3", names=diffusers)
    flux = Format(_flux, extra=("y", "guidance"))
    qwen = Format(_qwen, latent_format="Wan21", extra=())
    return {"sd15": unet, "sdxl": unet, "sd35": sd3, "nano": sd3, "flux": flux, "qwen-image": qwen}


def _made_by() -> dict[str, Any]:
    import comfy.ops

    return {
        "operations": comfy.ops.disable_weight_init,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
    }


def _unet(config: dict[str, Any], blocks: int) -> nn.Module:
    from comfy.cldm.cldm import ControlNet

    shape = {name: value for name, value in config.items() if name != "out_channels"}
    return ControlNet(**shape, hint_channels=COLOURS, **_made_by())


def _mmdit(config: dict[str, Any], blocks: int) -> nn.Module:
    from comfy.cldm.mmdit import ControlNet

    return ControlNet(
        num_blocks=blocks, control_latent_channels=config["in_channels"], **config, **_made_by()
    )


def _flux(config: dict[str, Any], blocks: int) -> nn.Module:
    from comfy.ldm.flux.controlnet import ControlNetFlux

    return ControlNetFlux(**{**config, "depth": blocks, "depth_single_blocks": 0}, **_made_by())


def _qwen(config: dict[str, Any], blocks: int) -> nn.Module:
    from comfy.ldm.qwen_image.controlnet import QwenImageControlNetModel

    return QwenImageControlNetModel(**{**config, "num_layers": blocks}, **_made_by())


def give_control_net(base: HostBase, config: TrainConfig) -> None:
    """Let a base without a control net take masks by a new one, which is trained.

    Raises TrainingError for a base that has a way for masks already, and for a family without control nets.
    """
    known = formats()
    if not isinstance(base.route, NoRoute) or base.family not in known:
        raise TrainingError(
            f'run.kind = "control" with family {base.family!r}'
            + (", which takes the mask another way" if base.family not in known else " and a control net"),
            fix='train an adapter, run.kind = "adapter", or leave base.control_net out and use a family of '
            + ", ".join(known),
        )
    begun = _begun(base, known[base.family], config)
    if base.facts.in_place:
        keep_inputs([*norms(begun), *begun.get_submodule("controlnet_blocks").children()])
    net = _wrapped(known[base.family], begun)
    base.route = ControlRoute(net, base.vae, base.model, base.device)
    base.route.trained = True
    base.route.net.control_model.requires_grad_(True)
    base.fingerprint = hashlib.sha256(f"{base.fingerprint} control".encode()).hexdigest()


def _begun(base: HostBase, kind: Format, config: TrainConfig) -> nn.Module:
    """Return a net with the base's weights where it has layers of the base, and its first values elsewhere."""
    shape = {k: v for k, v in base.model.model_config.unet_config.items() if k != "dtype"}
    net = kind.build(shape, blocks_of(base, config)).eval()
    twins = dict(base.network.named_modules())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.run.seed)
        for name, module in net.named_modules():
            _begin(
                module, None if name.startswith(kind.zero) else twins.get(name), name.startswith(kind.zero)
            )
    return net


def blocks_of(base: HostBase, config: TrainConfig) -> int:
    """Return how many blocks the net has: as configured, but fewer than the base, as in the host's formats."""
    return min(config.control.blocks, max(1, len(find_blocks(base.network, base.blocks)) - 1))


def _begin(module: nn.Module, twin: nn.Module | None, zero: bool) -> None:
    """Set the tensors of one module, none of its children's."""
    own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    if zero:
        for tensor in own.values():
            tensor.zero_()
    elif twin is not None:
        for key, tensor in own.items():
            tensor.copy_(base_weight(twin) if key == "weight" else getattr(twin, key))
    elif isinstance(module, nn.Conv2d):  # the host's own way to begin, which its classes leave out
        nn.Conv2d.reset_parameters(module)


def _wrapped(kind: Format, net: nn.Module) -> Any:
    """Return the net as the host's loader would."""
    from comfy import controlnet, latent_formats, model_management

    options: dict[str, Any] = {
        "load_device": model_management.get_torch_device(),
        "extra_conds": [*kind.extra],
    }
    if kind.latent_format:
        hint = getattr(latent_formats, kind.latent_format)()
        if kind.latent_format == "SD3":
            hint.shift_factor = 0  # as the host's loader has it
        options |= {"latent_format": hint, "compression_ratio": 1}
    return controlnet.ControlNet(net, **options)


@dataclass(frozen=True)
class ControlTask:
    """Implements `loop.Problem`: the control net is trained, the base is not."""

    base: HostBase
    prepared: Prepared
    sampler: Sampler
    config: ObjectiveConfig
    device: torch.device
    blocks: int
    files: tuple[str, str] = (CONTROL_NET, "control_net_best.safetensors")

    @property
    def net(self) -> nn.Module:
        return self.base.route.net.control_model  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return dict(self.net.named_parameters())

    @property
    def layers(self) -> dict[str, Any]:
        """What is trained, by module name: modules with a `weight`."""
        modules = self.net.named_modules()
        return {n: m for n, m in modules if n and hasattr(m, "weight") and m.weight is not None}

    def losses(self, positions: range) -> Tensor:
        batch = self.prepared.batch([self.sampler.sample(k) for k in positions])
        return objective.loss(self.base, batch.to(self.device), self.config)

    def refresh(self) -> None:
        """Nothing is derived from the parameters."""

    def export(self, path: Path, description: Mapping[str, Any], step: int) -> None:
        """Write the net as the stock ControlNetLoader reads it, in fp32, whole or not at all."""
        from safetensors.torch import save

        state = {name: p.detach().cpu().contiguous() for name, p in self.net.state_dict().items()}
        state = formats()[self.base.family].names(state, self.blocks)
        metadata = {"ccm.training": json.dumps({**description, "step": step}), "ccm.format": "control net"}
        replace_durably(path, save(state, metadata={**metadata, "ccm.notice": "not for clinical use"}))


@contextmanager
def controlled(
    base: HostBase, prepared: Prepared, sampler: Sampler, config: TrainConfig, device: torch.device
) -> Iterator[ControlTask]:
    """Within it, base and control net are on the device, and save memory as the configuration says.

    Raises TrainingError where a frame has no mask, as such a frame teaches a control net nothing.
    """
    lacking = [record.frame for record in prepared.records if record.mask is None]
    if lacking:
        raise TrainingError(
            f"{len(lacking)} of {len(prepared.records)} frames have no mask, the first {lacking[0]}",
            fix="trace them with `python . measure FOLDER`, or leave them out: a control net learns from masks",
        )
    with bare(base, config.memory, device):
        yield ControlTask(base, prepared, sampler, config.objective, device, blocks_of(base, config))
