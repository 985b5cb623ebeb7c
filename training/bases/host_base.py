"""A base model of the ComfyUI host, whatever its class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...ccm.adapter.fingerprint import sample as weight_sample
from ...ccm.cohorts import NEGATIVE_PROMPT, NEUTRAL_PROMPT, Cohort, clinical_prompt
from ...ccm.control import MaskStyle, draw_masks
from ...ccm.images import to_grey
from .base import Condition, Tensors, stack
from .families import Family
from .host_modules import leave_inference_mode, pytorch_attention
from .routes import ControlRoute, LatentRoute, MaskRoute, NoRoute

ROUTE_KEYS = {"reference": "reference_latents", "concat": "concat_latent_image"}


class HostBase:
    """The host's own model, text encoder, autoencoder and control net behind the trainer's protocol `Base`.

    One implementation serves all families, because the host's classes differ behind two methods: `extra_conds`
    turns conditioning into arguments, `apply_model` scales, predicts and scales back.
    """

    negative_prompt = NEGATIVE_PROMPT

    def __init__(
        self, facts: Family, model: Any, clip: Any, vae: Any, control_net: Any, device: torch.device,
        style: MaskStyle = MaskStyle.NERVES,
    ) -> None:  # fmt: skip
        """Take over a comfy.model_base.BaseModel, CLIP, VAE and (or None) control net, and freeze them.

        The model stays where it is, so that the encoders have the device to themselves until it is placed there.
        """
        self.facts, self.model, self.clip, self.vae = facts, model, clip, vae
        self.style = style
        self.family, self.targets, self.blocks = facts.name, facts.targets, facts.blocks
        self.latent_px: int = vae.spacial_compression_encode()
        self.device = device
        leave_inference_mode(model)
        model.eval().requires_grad_(False)
        if facts.in_place:
            keep_inputs(norms(model.diffusion_model))
        if control_net is not None:
            leave_inference_mode(control_net.control_model)
        self.route = self._route(control_net, device)
        self.fingerprint = _fingerprint(facts, style, model, clip, vae, control_net)

    def _route(self, control_net: Any, device: torch.device) -> MaskRoute:
        if control_net is not None:
            return ControlRoute(control_net, self.vae, self.model, device)
        key = ROUTE_KEYS.get(self.facts.mask)
        return NoRoute() if key is None else LatentRoute(self.vae, key)

    @property
    def network(self) -> nn.Module:
        return self.model.diffusion_model

    @property
    def text_sees_mask(self) -> bool:
        return self.facts.text_sees_mask

    def prompt_for(self, cohort: Cohort | None) -> str:
        return NEUTRAL_PROMPT if cohort is None else clinical_prompt(cohort)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode one frame at a time: video autoencoders take a batch for the frames of one film."""
        return torch.cat([self.vae.encode(_image(frame)).cpu() for frame in frames])

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        images = torch.cat([self.vae.decode(latent[None]) for latent in latents])
        return torch.from_numpy(to_grey(images.reshape(-1, *images.shape[-3:])))

    @torch.no_grad()
    def encode_prompt(self, prompt: str, mask: Tensor | None) -> Tensors:
        images = {"images": [_image(mask)]} if self.text_sees_mask and mask is not None else {}
        ((context, extra),) = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(prompt, **images))
        tensors = {"cross_attn": context, **{k: v for k, v in extra.items() if isinstance(v, Tensor)}}
        return {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    @torch.no_grad()
    def encode_mask(self, mask: Tensor) -> Tensors:
        image = torch.from_numpy(draw_masks(mask[None].float().cpu().numpy(), self.style))
        latent = torch.zeros_like(self.encode_frames(mask[None]), device=self.device)
        return {name: tensor.cpu() for name, tensor in self.route.encode(image, latent).items()}

    def denoised(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """Make one model call for each group of samples with conditions of the same shape."""
        groups = condition.groups()
        parts = [self._denoised_alike(x[group], sigma[group], condition, group) for group in groups]
        order = torch.tensor([number for group in groups for number in group], device=x.device)
        return torch.cat(parts)[order.argsort()]

    def _denoised_alike(self, x: Tensor, sigma: Tensor, condition: Condition, group: list[int]) -> Tensor:
        prompt = stack([condition.prompts[number] for number in group])
        masks = [mask for number in group if (mask := condition.masks[number]) is not None]
        mask = stack(masks) if masks else None
        call = self._arguments(x, prompt if mask is None else {**prompt, **self.route.conditioning(mask)})
        call["transformer_options"] = {
            "optimized_attention_override": pytorch_attention,
            "patches": {"input_block_patch_after_skip": [_copied]},
            "cond_or_uncond": [0],
            "sigmas": sigma,
        }
        if mask is not None:
            call["control"] = self.route.control(x, sigma, call, mask)
        return self.model.apply_model(x, sigma, **call)

    def _arguments(self, x: Tensor, conditioning: dict[str, Any]) -> dict[str, Any]:
        """Turn the host's conditioning into arguments of `apply_model`, as its sampler does."""
        extra = self.model.extra_conds(
            **conditioning,
            noise=x,
            device=x.device,
            width=x.shape[-1] * 8,
            height=x.shape[-2] * 8,
            prompt_type="positive",
            latent_image=torch.zeros_like(x),
        )
        return {name: cond.process_cond(batch_size=len(x), area=None).cond for name, cond in extra.items()}

    @torch.no_grad()
    def sample(
        self,
        condition: Condition,
        negative: Condition,
        seed: int,
        steps: int,
        guidance: float,
        shape: torch.Size,
    ) -> Tensor:
        from comfy import samplers

        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        sigmas = samplers.calculate_sigmas(self.model.model_sampling, self.facts.scheduler, steps)
        guided = _Guided(self, condition.to(self.device), negative.to(self.device), guidance)
        x = samplers.sampler_object(self.facts.sampler).sample(
            guided, sigmas.to(self.device), {"seed": seed}, None, noise, torch.zeros_like(noise), None, True
        )
        return self.model.process_latent_out(x.float()).cpu()

    def free_encoders(self) -> None:
        from comfy import model_management

        model_management.unload_all_models()


class _Guided:
    """Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) in the shape the host's samplers call."""

    def __init__(self, base: HostBase, condition: Condition, negative: Condition, guidance: float) -> None:
        self.inner_model = base.model
        self.base, self.condition, self.negative, self.guidance = base, condition, negative, guidance

    def __call__(
        self, x: Tensor, sigma: Tensor, model_options: Any = None, seed: int | None = None
    ) -> Tensor:
        with_prompt = self.base.denoised(x, sigma, self.condition)
        if self.guidance == 1.0 or float(sigma.max()) >= self.base.facts.guided_below:
            return with_prompt
        without = self.base.denoised(x, sigma, self.negative)
        return without + self.guidance * (with_prompt - without)


def norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.LayerNorm)]


def keep_inputs(modules: Iterable[nn.Module]) -> None:
    """Let modules keep copies of their inputs for backward, so that the host may change the inputs in place."""
    for module in modules:
        module.register_forward_pre_hook(lambda _, inputs: (inputs[0].clone(), *inputs[1:]))


def _copied(h: Tensor, _: Any) -> Tensor:
    """Patch of the host's UNet: control residuals are added in place to what a skip connection holds."""
    return h.clone()


def _image(grey: Tensor) -> Tensor:
    """Turn a frame or mask [H,W] into a host image [1,H,W,3]."""
    return grey.float()[None, :, :, None].expand(-1, -1, -1, 3)


def _fingerprint(facts: Family, style: MaskStyle, model: Any, clip: Any, vae: Any, control_net: Any) -> str:
    """Hash a sample of every weight, so that gigabytes need not be read; a fine-tuned base changes all."""
    told = facts.name, facts.host_class, facts.clip_type, facts.mask, facts.text_sees_mask, style.value
    digest = hashlib.sha256(repr(told).encode())
    modules = [
        model.diffusion_model,
        getattr(clip, "cond_stage_model", None),
        getattr(vae, "first_stage_model", None),
    ]
    modules.append(getattr(control_net, "control_model", None))
    for part, module in enumerate(modules):
        for name, weight in sorted(module.state_dict().items()) if module is not None else ():
            if weight.is_floating_point() and weight.numel():
                digest.update(f"{part} {name} {tuple(weight.shape)} {weight.dtype}".encode())
                digest.update(weight_sample(weight).numpy().tobytes())
    return digest.hexdigest()
