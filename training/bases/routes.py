"""How a nerve mask reaches a base model: through a control net, as a reference latent, or concatenated.

Each route encodes a mask once and uses the encoded tensors in every model call, with the host's own objects.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from .base import Tensors


class MaskRoute(Protocol):
    """A way for masks into the model."""

    def encode(self, image: Tensor, latent: Tensor) -> dict[str, Tensor]:
        """Encode a mask image [1,H,W,3] for a latent of this shape (its values do not matter)."""
        ...

    def conditioning(self, mask: Tensors) -> dict[str, Any]:
        """Return what the mask adds to the host's conditioning dictionary."""
        ...

    def control(self, x: Tensor, sigma: Tensor, call: dict[str, Any], mask: Tensors) -> Any:
        """Return the control residuals of one model call, or None."""
        ...


class NoRoute:
    """Masks do not reach the model."""

    def encode(self, image: Tensor, latent: Tensor) -> dict[str, Tensor]:
        return {}

    def conditioning(self, mask: Tensors) -> dict[str, Any]:
        return {}

    def control(self, x: Tensor, sigma: Tensor, call: dict[str, Any], mask: Tensors) -> Any:
        return None


class LatentRoute:
    """The encoded mask enters the conditioning, as a reference latent or concatenated to the noisy latent."""

    def __init__(self, vae: Any, key: str) -> None:
        self.vae, self.key = vae, key

    def encode(self, image: Tensor, latent: Tensor) -> dict[str, Tensor]:
        return {self.key: self.vae.encode(image)}

    def conditioning(self, mask: Tensors) -> dict[str, Any]:
        latents = mask[self.key]
        return {self.key: [latents] if self.key == "reference_latents" else latents}

    def control(self, x: Tensor, sigma: Tensor, call: dict[str, Any], mask: Tensors) -> Any:
        return None


class ControlRoute:
    """A control net of the host, set up as ControlNetApplyAdvanced does at strength 1 for the whole sampling.

    Strategy: the host computes the hint (its scaling, its autoencoder, its latent format) at the first call and
    keeps it in `cond_hint`. A recorder in the place of the network catches the hint for the cache; afterwards
    the cached hint is put where the host looks for it.
    """

    def __init__(self, control_net: Any, vae: Any, model: Any, device: torch.device) -> None:
        self.vae, self.model = vae, model
        self.trained = False  # a frozen net keeps nothing for a backward pass
        self.net = self._prepared(control_net, torch.zeros(1, 3, 8, 8))
        # taken from the base by some nets, so it must happen before an adapter renames the base's modules
        self.net.control_model.to(device).requires_grad_(False)

    def _prepared(self, control_net: Any, image: Tensor) -> Any:
        net = control_net.copy().set_cond_hint(image, 1.0, (0.0, 1.0), vae=self.vae)
        net.pre_run(self.model, self.model.model_sampling.percent_to_sigma)
        return net

    def encode(self, image: Tensor, latent: Tensor) -> dict[str, Tensor]:
        recorder = _Recorder(self.net.control_model.dtype)
        net = self.net.copy().set_cond_hint(image.movedim(-1, 1), 1.0, (0.0, 1.0), vae=self.vae)
        net.control_model, net.model_sampling_current = recorder, self.model.model_sampling
        net.get_control(
            latent, self.model.model_sampling.sigma_max.reshape(1), {"c_crossattn": latent}, 1, {}
        )
        return {"hint": recorder.hint}

    def conditioning(self, mask: Tensors) -> dict[str, Any]:
        return {}

    def control(self, x: Tensor, sigma: Tensor, call: dict[str, Any], mask: Tensors) -> Any:
        self.net.cond_hint = mask["hint"].to(x.device, self._dtype)
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()):
            return self.net.get_control(x, sigma, call, 1, call["transformer_options"])

    @property
    def _dtype(self) -> torch.dtype:
        return self.net.manual_cast_dtype or self.net.control_model.dtype


class _Recorder:
    """Stands where the host expects a control network, and keeps the hint that it was given."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.hint = torch.empty(0)

    def __call__(self, *, hint: Tensor, **_: Any) -> dict[str, list[Tensor]]:
        self.hint = hint
        return {}
