"""Every way of a nerve mask into every base: the mask changes the frame, and what does not fit is refused.

Bases and control nets are small random-weight models of the host's own classes, see small_models.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from ccm_pack.ccm.control import MaskStyle
from ccm_pack.ccm.errors import MaskError, RouteError

pytestmark = pytest.mark.usefixtures("executor")

Made = tuple[str, dict[str, Any]]  # a function of small_models, and its options


class Control(NamedTuple):
    """A base, its control net, the channels of its autoencoder (0: Qwen-Image's), and the drawing."""

    base: Made
    net: Made
    channels: int
    style: MaskStyle = MaskStyle.NERVES


SD15, SDXL, SD35, QWEN, FLUX = ((name, {}) for name in ("unet", "sdxl", "sd35", "qwen_image", "flux"))
CONTROLS = {
    "SD1.5": Control(SD15, ("unet_control", {}), 4, MaskStyle.SCRIBBLE),
    "SD1.5 Control-LoRA": Control(SD15, ("control_lora", {}), 4, MaskStyle.CANNY),
    "SDXL": Control(SDXL, ("sdxl_control", {}), 4, MaskStyle.SEGMENTATION),
    "SD3.5, diffusers format": Control(SD35, ("sd35_control", {}), 16),
    "SD3.5, inpainting": Control(SD35, ("sd35_control", {"latent_channels": 17}), 16),
    "Qwen-Image": Control(QWEN, ("qwen_control", {}), 0, MaskStyle.SOFT_EDGE),
    "Qwen-Image, inpainting": Control(QWEN, ("qwen_control", {"extra_channels": 4}), 0),
    "Flux, InstantX format": Control(FLUX, ("flux_control", {}), 16),
    "Flux, union": Control(FLUX, ("flux_control", {"modes": 7}), 16, MaskStyle.CANNY),
    "Flux, XLabs format": Control(FLUX, ("flux_control_of_xlabs", {}), 16),
}
CONCATS = {
    "SD1.5 inpainting": (("unet", {"in_channels": 9}), 4, "inpainting"),
    "SD1.5 instruct-pix2pix": (("unet", {"in_channels": 8}), 4, "picture"),
    "Flux with a picture": (("flux", {"in_channels": 32}), 16, "picture"),
    "Flux Fill": (("flux", {"in_channels": 96}), 16, "inpainting"),
}


@pytest.fixture
def executor() -> Any:
    """Run as the host's executor runs nodes."""
    with torch.inference_mode():
        yield


def node(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    return importlib.import_module(f"ccm_pack.nodes.{module}").__dict__[cls]


def controlled(studio: Any, net: Any, vae: Any, mask: torch.Tensor, **options: Any) -> tuple[Any, Any]:
    apply = node("conditioning.ApplyNerveMaskControl").execute
    positive, negative = studio.prompts()
    return apply(positive, negative, net, mask, vae, 1.0, 0.0, 1.0, **options).result


def frames(studio: Any, model: Any, vae: Any, condition: Callable[[torch.Tensor], Any], masks: Any) -> Any:
    return [studio.sample(model, *condition(mask), studio.latent(vae)) for mask in masks]


def differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    assert torch.isfinite(one).all() and torch.isfinite(other).all()
    return float((one - other).norm() / one.norm()) > 1e-4  # equal masks give equal bits


@pytest.mark.parametrize("case", CONTROLS.values(), ids=CONTROLS)
def test_the_mask_changes_the_frame_through_a_control_net(studio: Any, masks: Any, case: Control):
    model, vae = studio.model(case.base[0], **case.base[1]), studio.vae(case.channels)
    net = studio.control(case.net[0], **case.net[1])

    def condition(mask: torch.Tensor) -> Any:
        latent = studio.latent(vae)
        return controlled(studio, net, vae, mask, latent=latent, style=case.style.value, model=model)

    one, other, again = frames(studio, model, vae, condition, [*masks, masks[0]])
    assert differ(one, other) and torch.equal(one, again)


def test_the_mask_changes_what_a_stability_control_net_gives(studio: Any, masks: Any):
    """The host fixes the width of its pooled prompts, which no small base has, so the net is called without one."""
    base = studio.model("sd35").model
    vae, net = studio.vae(16), studio.control("sd35_control_of_stability")
    residuals = []
    for mask in masks:
        control = controlled(studio, net, vae, mask, style="canny")[0][0][1]["control"]
        control.pre_run(base, base.model_sampling.percent_to_sigma)
        condition = {"c_crossattn": torch.zeros(1, 3, 192), "y": torch.zeros(1, 2048)}
        made = control.get_control(torch.zeros(1, 16, 8, 8), torch.tensor([0.5]), condition, 1, {})
        residuals.append(torch.cat(made["output"]))
    assert differ(*residuals)


@pytest.mark.parametrize("case", CONCATS.values(), ids=CONCATS)
def test_the_mask_changes_the_frame_through_concatenated_channels(studio: Any, masks: Any, case: Any):
    (maker, options), channels, kind = case
    model, vae = studio.model(maker, **options), studio.vae(channels)
    assert importlib.import_module("ccm_pack.nodes.mask_routes").concat_kind(model) == kind
    execute = node("concat.NerveMaskConcat").execute
    latent = studio.latent(vae)
    one, other = frames(
        studio, model, vae, lambda m: execute(*studio.prompts(), model, vae, m, "canny", latent).result, masks
    )
    assert differ(one, other)


def test_a_flux_control_lora_makes_room_for_the_mask(studio: Any, masks: Any):
    vae, execute = studio.vae(16), node("concat.NerveMaskConcat").execute
    lora = studio.utils.load_torch_file(str(studio.file("flux_control_lora")))
    model, _ = studio.sd.load_lora_for_models(studio.model("flux"), None, lora, 1.0, 0.0)
    latent = studio.latent(vae)
    one, other = frames(
        studio, model, vae, lambda m: execute(*studio.prompts(), model, vae, m, "canny", latent).result, masks
    )
    assert differ(one, other)


def referenced(studio: Any, vae: Any, mask: torch.Tensor, count: int = 1) -> Any:
    execute = node("reference.NerveMaskReference").execute
    return execute("T1DPN", studio.clip(sees=True), vae, mask, studio.latent(vae, count)).result


def test_the_mask_changes_the_frame_as_a_reference(studio: Any, masks: Any):
    model, vae = studio.model("qwen_image"), studio.vae(0)
    one, other = frames(studio, model, vae, lambda m: referenced(studio, vae, m)[:2], masks)
    assert differ(one, other)


def test_the_reference_has_the_frames_size_and_the_text_encoder_sees_the_mask(studio: Any, masks: Any):
    vae = studio.vae(0)
    (first, *_), (second, *_) = (referenced(studio, vae, mask) for mask in masks)
    assert first[0][1]["reference_latents"][0].shape == (1, 16, 1, 8, 8)
    assert differ(first[0][0], second[0][0])


def test_each_frame_of_a_batch_follows_its_own_reference(studio: Any, masks: Any):
    model, vae = studio.model("qwen_image"), studio.vae(0)
    positive, negative, _ = referenced(studio, vae, torch.cat(masks), 2)
    both = studio.sample(model, positive, negative, studio.latent(vae, 2))
    swapped, again, _ = referenced(studio, vae, torch.cat(masks[::-1]), 2)
    other = studio.sample(model, swapped, again, studio.latent(vae, 2))
    assert differ(both[:1], other[:1]) and differ(both[1:], other[1:])


def test_the_trainer_encodes_mask_and_prompt_as_the_node_does(studio: Any, masks: Any):
    host_base = importlib.import_module("ccm_pack.training.bases.host_base")
    families = importlib.import_module("ccm_pack.training.bases.families").FAMILIES
    clip, vae = studio.clip(sees=True), studio.vae(0)
    with torch.inference_mode(False):
        model = studio.model("qwen_image").model
        base = host_base.HostBase(families["qwen-image-edit"], model, clip, vae, None, torch.device("cpu"))
    positive, _, prompt = referenced(studio, vae, masks[0])
    assert torch.equal(base.encode_prompt(prompt, masks[0][0])["cross_attn"], positive[0][0])
    reference = base.encode_mask(masks[0][0])["reference_latents"]
    assert torch.equal(reference, positive[0][1]["reference_latents"][0])


WRONG = {
    "another base": (("unet_control", {}), 4, "sd35", "is for SD1.5 or SDXL, and the model is SD3"),
    "another autoencoder": (
        ("qwen_control", {}),
        16,
        None,
        "3 axes; the autoencoder makes 16 channels and 2",
    ),
    "another text encoder": (("flux_control", {}), 16, None, "expects prompts of width 192, .* gives 64"),
}


@pytest.mark.parametrize(("net", "channels", "base", "said"), WRONG.values(), ids=WRONG)
def test_a_control_net_beside_a_part_of_another_base_is_refused(
    studio: Any, masks: Any, net: Made, channels: int, base: str | None, said: str, monkeypatch: Any
):
    if "width" in said:
        monkeypatch.setattr(studio, "prompts", lambda: [[[torch.zeros(1, 3, 64), {}]]] * 2)
    model = base and studio.model(base)
    with pytest.raises(RouteError, match=f"(?s){said}.*Nerve Mask Reference"):
        controlled(studio, studio.control(net[0], **net[1]), studio.vae(channels), masks[0], model=model)


def test_no_control_net_is_refused_with_the_other_routes(studio: Any, masks: Any):
    with pytest.raises(RouteError, match="without a control net.*Nerve Mask Reference.*Nerve Mask Concat"):
        controlled(studio, None, studio.vae(16), masks[0])


def test_two_masks_are_not_read_as_a_film(studio: Any, masks: Any):
    with pytest.raises(RouteError, match="2 masks at once.*one mask at a time"):
        controlled(studio, studio.control("qwen_control"), studio.vae(0), torch.cat(masks))


def test_a_union_net_is_told_the_drawing_unless_the_user_did(studio: Any, masks: Any):
    net, vae = studio.control("flux_control", modes=7), studio.vae(16)
    told = controlled(studio, net, vae, masks[0], style="canny")[0][0][1]["control"]
    assert told.extra_args["control_type"] == [0] and not net.extra_args
    with pytest.raises(RouteError, match="has not been trained on scribble drawings.*canny"):
        controlled(studio, net, vae, masks[0], style="scribble")
    net.set_extra_arg("control_type", [4])
    assert controlled(studio, net, vae, masks[0], style="canny")[0][0][1]["control"].extra_args == {
        "control_type": [4]
    }


STYLES = [("scribble", 2), ("soft edge", 2), ("canny", 3), ("segmentation", 5)]


@pytest.mark.parametrize(("style", "number"), STYLES)
def test_an_sdxl_union_net_gets_the_mask_and_the_hosts_number_of_the_drawing(
    studio: Any, masks: Any, style: str, number: int
):
    """The host's loader knows union nets of SDXL's full width only, so its class is built directly."""
    module = importlib.import_module("small_models").sdxl_union_model()
    net = studio.controlnet.ControlNet(module, load_device=torch.device("cpu"))
    model, vae = studio.model("sdxl", channels=320), studio.vae(4)
    conditions = [controlled(studio, net, vae, m, style=style, model=model) for m in masks]
    assert conditions[0][0][0][1]["control"].extra_args["control_type"] == [number]
    if style == "canny":
        one, other = (studio.sample(model, *c, studio.latent(vae)) for c in conditions)
        assert differ(one, other)


def test_concatenation_is_refused_where_the_model_has_no_channels_for_it(studio: Any, masks: Any):
    vae, execute = studio.vae(4), node("concat.NerveMaskConcat").execute
    with pytest.raises(RouteError, match="no input channels for a picture.*Apply Nerve Mask Control"):
        execute(*studio.prompts(), studio.model("unet"), vae, masks[0], "canny", studio.latent(vae))


def test_a_reference_is_refused_beside_another_text_encoder_or_autoencoder(studio: Any, masks: Any):
    execute = node("reference.NerveMaskReference").execute
    for clip, vae, said in (
        (studio.clip(), studio.vae(0), "cannot look at the mask.*Apply Nerve Mask Control"),
        (studio.clip(sees=True), studio.vae(16), "autoencoder is not that of Qwen-Image-Edit"),
    ):
        with pytest.raises(RouteError, match=said):
            execute("Control", clip, vae, masks[0], studio.latent(vae))


def test_a_reference_of_another_size_than_the_frame_is_refused(studio: Any):
    with pytest.raises(MaskError, match="128 x 128 pixels and the frame will be 64 x 64"):
        referenced(studio, studio.vae(0), torch.eye(128)[None])


def test_an_empty_mask_is_refused_on_every_route(studio: Any, masks: Any):
    empty, vae = torch.zeros(1, 64, 64), studio.vae(16)
    positive, negative = studio.prompts()
    model, latent = studio.model("flux", in_channels=32), studio.latent(vae)
    concat = node("concat.NerveMaskConcat").execute
    for refused in (
        lambda: controlled(studio, studio.control("flux_control"), vae, empty),
        lambda: concat(positive, negative, model, vae, empty, "canny", latent),
        lambda: referenced(studio, studio.vae(0), empty),
    ):
        with pytest.raises(MaskError, match="Mask 0 is empty"):
            refused()
