"""What the host's models, text encoders, autoencoders and control nets take of a nerve mask.

A mask reaches a base model by one of three routes: a control net, a reference latent, or channels concatenated
to the noisy latent. Where a part does not belong to the route, the host would ignore the mask or fail somewhere in
the sampling; here it is refused before that, with the route that the base has.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..ccm.control import MaskStyle
from ..ccm.errors import RouteError

Conditioning = list[list[Any]]
ConcatKind = Literal["picture", "inpainting"]

BASES = {"UNet": "SD1.5 or SDXL", "SD3": "SD3 or SD3.5", "Flux": "Flux", "Qwen-Image": "Qwen-Image"}
UNET_LATENTS = (4, 2)  # channels, and axes of place
SDXL_TYPES = {  # of union control nets, comfy.cldm.control_types
    MaskStyle.SCRIBBLE: 2,
    MaskStyle.SOFT_EDGE: 2,
    MaskStyle.CANNY: 3,
    MaskStyle.SEGMENTATION: 5,
}
FLUX_TYPES = {MaskStyle.CANNY: 0}  # of the union control nets of InstantX and Shakker Labs
OTHER_ROUTES = (
    "Qwen-Image-Edit takes the mask by Nerve Mask Reference, inpainting and control models by Nerve Mask Concat, "
    "every other base by Apply Nerve Mask Control with a control net of its own"
)


class ControlFacts(NamedTuple):
    """The base that a control net belongs to: family, width of its prompts, channels and axes of its latents."""

    family: str
    prompt_width: int | None
    latents: tuple[int, int]


def control_facts(control_net: Any) -> ControlFacts | None:
    """Return what a control net of the host expects, or None for families that CCM frames are not made with."""
    from comfy import controlnet
    from comfy.cldm.cldm import ControlNet as UNetControl
    from comfy.cldm.dit_embedder import ControlNetEmbedder
    from comfy.cldm.mmdit import ControlNet as MMDiTControl
    from comfy.ldm.flux.controlnet import ControlNetFlux
    from comfy.ldm.qwen_image.controlnet import QwenImageControlNetModel

    if isinstance(control_net, controlnet.ControlLora | controlnet.T2IAdapter):
        return ControlFacts("UNet", None, UNET_LATENTS)
    net: Any = getattr(control_net, "control_model", None)
    if isinstance(net, UNetControl):
        modules: Any = net.named_modules()
        widths = (m.in_features for name, m in modules if name.endswith("attn2.to_k"))
        return ControlFacts("UNet", next(widths, None), UNET_LATENTS)
    if isinstance(net, ControlNetFlux):
        return ControlFacts("Flux", net.txt_in.in_features, (16, 2))
    if isinstance(net, QwenImageControlNetModel):
        return ControlFacts("Qwen-Image", net.txt_in.in_features, (16, 3))
    if isinstance(net, ControlNetEmbedder):
        return ControlFacts("SD3", None, (16, 2))
    if isinstance(net, MMDiTControl):
        embedder = net.context_embedder
        return ControlFacts("SD3", getattr(embedder, "in_features", None), (16, 2))
    return None


def base_family(model: Any) -> str | None:
    """Return the family of a MODEL of the host, as a key of BASES."""
    from comfy import model_base
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    kinds = {"Flux": model_base.Flux, "Qwen-Image": model_base.QwenImage, "SD3": model_base.SD3}
    found = next((name for name, kind in kinds.items() if isinstance(model.model, kind)), None)
    return found or ("UNet" if isinstance(model.model.diffusion_model, UNetModel) else None)


def check_control_net(control_net: Any, positive: Conditioning, vae: Any, masks: int, model: Any) -> None:
    """Raise RouteError unless control net, prompt, autoencoder and (where given) model are of one family."""
    if control_net is None:
        raise RouteError("The base that was loaded comes without a control net", fix=OTHER_ROUTES)
    facts = control_facts(control_net)
    if facts is None:
        return
    base = BASES[facts.family]
    own = f"connect a control net, a text encoder and an autoencoder of one base; {OTHER_ROUTES}"
    if model is not None and (have := base_family(model)) != facts.family:
        raise RouteError(
            f"The control net is for {base}, and the model is {BASES.get(str(have), 'another one')}", fix=own
        )
    if (have := (vae.latent_channels, vae.latent_dim)) != facts.latents:
        raise RouteError(
            f"The control net is for {base}, whose latents have {facts.latents[0]} channels and "
            f"{facts.latents[1]} axes; the autoencoder makes {have[0]} channels and {have[1]} axes",
            fix=own,
        )
    width = positive[0][0].shape[-1]
    if facts.prompt_width not in (None, width):
        raise RouteError(
            f"The control net expects prompts of width {facts.prompt_width}, the text encoder gives {width}",
            fix=own,
        )
    if masks > 1 and facts.latents[1] == 3:
        raise RouteError(
            f"{masks} masks at once: the autoencoder of {base} would read them as the frames of one film",
            fix="sample one mask at a time",
        )


def in_style(control_net: Any, style: MaskStyle) -> Any:
    """Tell a union control net which drawing it gets, unless the user has; others are returned as they are.

    Raises RouteError for a drawing that a union net was not trained on.
    """
    types = _union_types(control_net)
    if types is None or style is MaskStyle.NERVES or control_net.extra_args.get("control_type"):
        return control_net
    if style not in types:
        raise RouteError(
            f"This union control net has not been trained on {style.value} drawings",
            fix=f"set style to {' or '.join(known.value for known in types)}",
        )
    control_net = control_net.copy()
    control_net.set_extra_arg("control_type", [types[style]])
    return control_net


def _union_types(control_net: Any) -> dict[MaskStyle, int] | None:
    net = getattr(control_net, "control_model", None)
    if getattr(net, "num_union_modes", 0):
        return FLUX_TYPES
    return SDXL_TYPES if getattr(net, "task_embedding", None) is not None else None


def kept_by_inpainting(control_net: Any, masks: Tensor) -> list[Tensor]:
    """Return what an inpainting control net keeps, [B,1,H,W] with 1 for kept: the nerves. For others nothing."""
    return [masks[:, None]] if getattr(control_net, "concat_mask", False) else []


def concat_kind(model: Any) -> ConcatKind | None:
    """Return what a MODEL takes beside the noisy latent: a picture, a picture and what to paint, or nothing."""
    from comfy import model_base

    base = model.model
    if isinstance(base, model_base.IP2P):
        return "picture"
    if isinstance(base, model_base.Flux):
        noise = base.model_config.unet_config["out_channels"]
        channels = _flux_channels(model)
        return None if channels <= noise else "picture" if channels <= 2 * noise else "inpainting"
    return "inpainting" if "masked_image" in base.concat_keys else None


def _flux_channels(model: Any) -> int:
    """Return the input channels of a Flux, also of one that a control LoRA widens."""
    own = model.model.model_config.unet_config["in_channels"]
    patch = model.model.diffusion_model.patch_size**2
    patches = model.patches.get("diffusion_model.img_in.weight", ())
    shapes = [weights[5] for _, what, *_ in patches if len(weights := getattr(what, "weights", ())) > 5]
    return max([own, *(shape[1] // patch for shape in shapes if shape)])


def concat_values(kind: ConcatKind, vae: Any, masks: Tensor, pictures: Tensor) -> dict[str, Tensor]:
    """Return what the host concatenates: masks [B,H,W] as drawn pictures [B,H,W,3], encoded.

    An inpainting model keeps the nerves and paints the rest, which it is shown as mid-grey.
    """
    if kind == "picture":
        return {"concat_latent_image": encode_each(vae, pictures)}
    painted = 1 - masks.round()
    known = (pictures - 0.5) * (1 - painted)[..., None] + 0.5
    return {"concat_latent_image": encode_each(vae, known), "concat_mask": painted[:, None]}


def encode_each(vae: Any, pictures: Tensor) -> Tensor:
    """Encode pictures [B,H,W,3] one at a time: video autoencoders take a batch for the frames of one film."""
    return torch.cat([vae.encode(picture[None]) for picture in pictures])


def check_reference(vae: Any) -> None:
    """Raise RouteError unless the autoencoder is that of Qwen-Image, the base that reads reference latents."""
    if (vae.latent_channels, vae.latent_dim) != (16, 3):
        raise RouteError("The autoencoder is not that of Qwen-Image-Edit", fix=OTHER_ROUTES)


def encode_seeing(clip: Any, prompt: str, pictures: Tensor) -> Conditioning:
    """Encode a prompt beside each picture [B,H,W,3], as one batch.

    Raises RouteError where the text encoder does not look at pictures.
    """
    encoded = [_encode_one(clip, prompt, picture[None]) for picture in pictures]
    values = {
        name: torch.cat([extra[name] for _, extra in encoded]) if isinstance(value, Tensor) else value
        for name, value in encoded[0][1].items()
    }
    return [[torch.cat([context for context, _ in encoded]), values]]


def _encode_one(clip: Any, prompt: str, picture: Tensor) -> tuple[Tensor, dict[str, Any]]:
    tokens = clip.tokenize(prompt, images=[picture])
    seen = [token for rows in tokens.values() for row in rows for token, *_ in row if isinstance(token, dict)]
    if not seen:
        raise RouteError("This text encoder cannot look at the mask", fix=OTHER_ROUTES)
    ((context, extra),) = clip.encode_from_tokens_scheduled(tokens)
    return context, extra


def with_values(conditioning: Conditioning, values: dict[str, Any]) -> Conditioning:
    """Return a conditioning with these values added to each of its entries."""
    return [[context, {**extra, **values}] for context, extra in conditioning]
