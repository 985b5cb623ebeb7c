from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("comfy.model_sampling", reason="needs the host's modules on the path (COMFYUI_PATH)")

from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training import objective
from ccm_pack.training.bases import Condition
from ccm_pack.training.prepare import Batch

SEEDS = (3, 8)


def sampling_of(kind: str) -> Any:
    from comfy import model_sampling as m

    bases = {
        "flow": (m.ModelSamplingDiscreteFlow, m.CONST),
        "flux": (m.ModelSamplingFlux, m.CONST),
        "epsilon": (m.ModelSamplingDiscrete, m.EPS),
        "v": (m.ModelSamplingDiscrete, m.V_PREDICTION),
    }
    return type(kind, bases[kind], {})()


class FakeBase:
    """A base whose network puts out `output` whatever it sees; the host's conversion is the real one."""

    device = "cpu"

    def __init__(self, kind: str, output: torch.Tensor) -> None:
        sampling = sampling_of(kind)
        self.model = SimpleNamespace(model_sampling=sampling, process_latent_in=lambda latents: 2 * latents)
        self.output = output
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def denoised(self, x: torch.Tensor, sigma: torch.Tensor, condition: Condition) -> torch.Tensor:
        self.seen.append((x, sigma))
        return self.model.model_sampling.calculate_denoised(sigma, self.output[: len(x)], x)


def config_of(**changes: Any) -> Any:
    defaults = {"noise_level": "uniform", "mean": 0.0, "std": 1.0, "shift": 3.0, "min_snr_gamma": None}
    return SimpleNamespace(**{**defaults, "nerve_weight": 0.0, **changes})


def batch_of(latents: torch.Tensor, nerves: torch.Tensor | None = None) -> Batch:
    count = len(latents)
    condition = Condition(({},) * count, (None,) * count)
    nerves = torch.zeros(count, *latents.shape[-2:]) if nerves is None else nerves
    return Batch(latents, condition, nerves, torch.tensor(SEEDS[:count]))


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def output() -> torch.Tensor:
    return torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(1))


def noise() -> torch.Tensor:
    return torch.stack([torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(s)) for s in SEEDS])


@pytest.mark.parametrize("kind", ["flow", "flux"])
def test_a_flow_model_is_held_to_the_velocity_from_latents_to_noise(kind: str, latents, output):
    got = objective.loss(FakeBase(kind, output), batch_of(latents), config_of())
    expected = (output - (noise() - 2 * latents)).square().mean((1, 2, 3))
    assert torch.allclose(got, expected, rtol=1e-4)


def test_an_epsilon_model_is_held_to_the_noise(latents, output):
    got = objective.loss(FakeBase("epsilon", output), batch_of(latents), config_of())
    assert torch.allclose(got, (output - noise()).square().mean((1, 2, 3)), rtol=1e-4)


def test_a_v_model_is_held_to_v(latents, output):
    base = FakeBase("v", output)
    got = objective.loss(base, batch_of(latents), config_of())
    sigma = base.seen[0][1][:, None, None, None]
    v = (noise() - sigma * 2 * latents) / (1 + sigma**2).sqrt()  # cos e - sin z, tan = sigma
    assert torch.allclose(got, (output - v).square().mean((1, 2, 3)), rtol=1e-4)


def test_what_the_network_sees_is_noised_as_the_sampler_noises(latents, output):
    base = FakeBase("flow", output)
    objective.loss(base, batch_of(latents), config_of())
    x, sigma = base.seen[0]
    s = sigma[:, None, None, None]
    assert torch.allclose(x, (1 - s) * 2 * latents + s * noise())


@pytest.mark.parametrize(("kind", "extra"), [("epsilon", 0), ("v", 1)])
def test_min_snr_weights_by_the_clamped_ratio(kind: str, extra: int, latents, output):
    base = FakeBase(kind, output)
    plain = objective.loss(base, batch_of(latents), config_of())
    weighted = objective.loss(base, batch_of(latents), config_of(min_snr_gamma=0.5))
    snr = base.seen[0][1] ** -2
    assert torch.allclose(weighted / plain, snr.clamp(max=0.5) / (snr + extra), rtol=1e-4)


def test_min_snr_is_refused_for_a_flow_model(latents, output):
    with pytest.raises(TrainingError, match="min_snr_gamma is for epsilon and v models"):
        objective.loss(FakeBase("flow", output), batch_of(latents), config_of(min_snr_gamma=5.0))


def test_nerves_weigh_more_and_a_sample_weighs_the_same():
    latents = torch.zeros(1, 1, 1, 2)
    e = torch.randn(1, 1, 2, generator=torch.Generator().manual_seed(SEEDS[0]))
    base = FakeBase("epsilon", e[None] + torch.tensor([1.0, 2.0]))  # errors of 1 and 2
    nerves = torch.tensor([[[1.0, 0.0]]])
    got = objective.loss(base, batch_of(latents, nerves), config_of(nerve_weight=3.0))
    assert got.item() == pytest.approx((4 * 1 + 1 * 4) / 5, rel=1e-3)


def test_weights_of_nerves_reach_latents_with_a_time_axis():
    latents = torch.zeros(2, 3, 1, 4, 4)
    base = FakeBase("flow", torch.zeros(2, 3, 1, 4, 4))
    nerves = torch.rand(2, 4, 4)
    assert objective.loss(base, batch_of(latents, nerves), config_of(nerve_weight=3.0)).shape == (2,)


def test_a_sample_is_the_same_alone_and_in_a_batch(latents, output):
    base = FakeBase("flow", output)
    both = objective.loss(base, batch_of(latents), config_of(noise_level="logit-normal"))
    first = objective.loss(base, batch_of(latents)[:1], config_of(noise_level="logit-normal"))
    assert torch.equal(both[:1], first)


@pytest.mark.parametrize(
    ("changes", "quartiles"),
    [
        ({"noise_level": "uniform"}, (0.25, 0.5, 0.75)),
        ({"noise_level": "shifted", "shift": 3.0}, (0.5, 0.75, 0.9)),
        ({"noise_level": "logit-normal", "mean": 1.0}, (0.5807, 0.7311, 0.8422)),  # sigmoid(1 -+ 0.6745)
    ],
)
def test_noise_levels_are_distributed_as_they_should(changes: dict, quartiles: tuple[float, ...]):
    levels = torch.stack([objective._draw(k, torch.Size([1]), config_of(**changes))[1] for k in range(4000)])
    got = levels.quantile(torch.tensor([0.25, 0.5, 0.75]))
    assert got.tolist() == pytest.approx(quartiles, abs=0.03)


@pytest.mark.parametrize("kind", ["flow", "flux", "epsilon"])
def test_levels_become_the_sigmas_of_the_hosts_schedule(kind: str):
    sampling = sampling_of(kind)
    model = SimpleNamespace(model_sampling=sampling)
    sigmas = [objective.host_sigma(model, torch.tensor(u)).item() for u in (0.0, 0.25, 0.5, 1.0)]
    middle = len(sampling.sigmas) // 2
    assert sigmas == sorted(sigmas)
    assert sigmas[0] == pytest.approx(float(sampling.sigma_min))
    assert sigmas[2] == pytest.approx(float(sampling.sigmas[middle]), rel=0.01)
    assert sigmas[3] == pytest.approx(float(sampling.sigma_max))
