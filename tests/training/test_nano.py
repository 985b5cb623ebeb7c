from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs the host's modules on the path (COMFYUI_PATH)")

from ccm_pack.training.config import OptimizerConfig
from ccm_pack.training.nano import STAGES, autoencoder, base, family, learning, phantoms


def test_every_stage_can_be_trained_and_the_decoder_comes_before_what_is_validated_with_it():
    assert all(callable(getattr(family, f"{stage}_stage")) for stage in STAGES)
    assert STAGES.index("decoder") < STAGES.index("wdlora")


@pytest.fixture(scope="module")
def projection():
    rng = np.random.default_rng(0)
    return autoencoder.fit_projection(torch.from_numpy(rng.random((8, 64, 64), dtype=np.float32)))


def test_latents_have_unit_variance_after_the_hosts_scaling(projection):
    frames = torch.from_numpy(np.random.default_rng(0).random((8, 64, 64), dtype=np.float32))
    z = (projection.encode(frames) - autoencoder.SD3_SHIFT) * autoencoder.SD3_SCALE
    assert z.std(dim=(0, 2, 3)).tolist() == pytest.approx([1.0] * 16, rel=0.01)


def test_the_encoder_that_the_host_runs_is_the_projection(projection):
    grey = torch.from_numpy(np.random.default_rng(1).random((2, 64, 96), dtype=np.float32))
    vae = autoencoder.build(projection)
    with torch.no_grad():
        z = vae.encode(grey[:, None].expand(-1, 3, -1, -1) * 2 - 1)
    assert (z - projection.encode(grey)).abs().max() < 1e-5


def test_sharing_makes_the_three_output_channels_equal(projection):
    vae = autoencoder.build(projection)
    autoencoder.share_grey(vae.get_submodule("taesd_decoder")[-1])
    with torch.no_grad():
        x = vae.decode(torch.randn(1, 16, 8, 8))
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])


@pytest.fixture(scope="module")
def crops(projection):
    lights = (np.random.default_rng(2).random((2, 96, 96)) * 255).astype(np.uint8)
    latents = projection.encode(torch.from_numpy(lights).float() / 255)
    decoder = autoencoder.build(projection).get_submodule("taesd_decoder")
    return autoencoder.DecoderProblem(decoder, lights, latents, 0, 3, torch.device("cpu"))


def test_a_decoder_crop_depends_on_its_position_alone_and_lies_under_its_latents(
    crops, projection, monkeypatch
):
    assert all(torch.equal(a, b) for a, b in zip(crops._crop(7), crops._crop(7), strict=True))
    monkeypatch.setattr(autoencoder, "LATENT_NOISE", 0.0)
    z, target = crops._crop(7)
    assert (z - projection.encode(target)[0]).abs().max() < 1e-5


def test_the_loss_of_a_decoder_is_its_squared_error_inside_the_rim(crops):
    class Flat(torch.nn.Module):
        def forward(self, z):
            return torch.full((len(z), 3, 96, 96), 0.5)

    for rim in (0, 4):
        problem = autoencoder.DecoderProblem(Flat(), crops.lights, crops.latents, rim, 3, torch.device("cpu"))
        lights = torch.stack([crops._crop(k)[1][0, rim : 96 - rim, rim : 96 - rim] for k in (5, 6)])
        wanted = (lights - 0.5).square().mean((1, 2))
        assert torch.allclose(problem.losses(range(5, 7)), wanted)


def test_light_is_the_frame_without_what_chance_does_to_its_pixels():
    pair = phantoms.cohort_pair(phantoms.COHORTS[0], np.random.default_rng(3))
    ratio = pair.frame[pair.light > 0.05] / pair.light[pair.light > 0.05]
    assert ratio.mean() == pytest.approx(1.0, abs=0.01) and 0.08 < ratio.std() < 0.3
    grain = pair.frame - pair.light
    apart = np.corrcoef(grain[:, :-8].ravel(), grain[:, 8:].ravel())[0, 1]
    assert abs(apart) < 0.05


def test_learning_goes_on_from_its_checkpoint_to_the_same_decoder(crops, tmp_path):
    def train(name, *ends):
        decoder = deepcopy(crops.decoder)
        problem = autoencoder.DecoderProblem(decoder, crops.lights, crops.latents, 0, 3, torch.device("cpu"))
        for steps in ends:
            optimizer = OptimizerConfig(
                schedule="constant", warmup_steps=0, steps=steps, batch=2, ema_decay=0.9
            )
            course = learning.Course(optimizer, tmp_path / name, 1)
            values = learning.learn(problem, course)
        return values

    once = train("once", 4)
    (tmp_path / "twice").mkdir()
    half = train("twice", 2)
    config = tmp_path / "twice" / "config.toml"
    config.write_text(config.read_text("utf-8").replace("\nsteps = 2\n", "\nsteps = 4\n"), "utf-8")
    twice = train("twice", 4)
    assert any(not torch.equal(half[k], once[k]) for k in once)
    assert all(torch.equal(twice[k], once[k]) for k in once)


def test_the_flow_shift_is_the_hosts():
    from comfy.model_sampling import time_snr_shift

    u = torch.linspace(0.01, 0.99, 9)
    assert torch.allclose(base.shifted(u), time_snr_shift(3.0, u))


def test_the_stock_loader_reads_the_control_net_unchanged(tmp_path):
    import comfy.controlnet
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = base.NanoModel(10)
    path = tmp_path / "control.safetensors"
    save_file(base.control_to_diffusers(model.control.state_dict()), path)
    loaded = comfy.controlnet.load_controlnet(str(path)).control_model.state_dict()
    expected = model.control.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[k].float(), expected[k]) for k in expected)


def test_a_fresh_model_predicts_zero_velocity_with_and_without_its_hint():
    torch.manual_seed(0)
    model = base.NanoModel(10)
    x, words = torch.randn(2, 16, 8, 8), torch.zeros(2, 40, dtype=torch.long)
    with torch.no_grad():
        v = model(x, torch.tensor([0.2, 0.9]), torch.randn_like(x), torch.tensor([0.0, 1.0]), words)
    assert v.abs().max() == 0


def test_a_crop_of_the_whole_frame_lies_where_the_host_puts_it():
    torch.manual_seed(0)
    model = base.NanoModel(10)
    for p in model.parameters():
        p.data.normal_(0, 0.05)
    x, words = torch.randn(1, 16, 48, 48), torch.zeros(1, 40, dtype=torch.long)
    level, use = torch.tensor([0.5]), torch.ones(1)
    with torch.no_grad():
        hosts = model(x, level, x, use, words)
        ours = model(x, level, x, use, words, torch.zeros(1, 2, dtype=torch.long))
    assert torch.equal(hosts, ours)


def test_a_crop_keeps_its_place_in_the_frame():
    model = base.NanoModel(10)
    table = model.base.pos_embed
    whole = base._window(table, torch.tensor([[0, 0]]), (48, 48)).view(24, 24, -1)
    crop = base._window(table, torch.tensor([[5, 3]]), (24, 24)).view(12, 12, -1)
    assert torch.equal(crop, whole[5:17, 3:15])


def test_a_base_sample_depends_on_its_position_alone():
    from ccm_pack.ccm.prompt_encoder import WordTokenizer

    tokenizer = WordTokenizer(["nerve"])
    frames = torch.arange(2 * 16 * 48 * 48).view(2, 16, 48, 48) / 1e5
    data = base.Latents(frames, frames, tokenizer.batch(["nerve", "nerve"]))
    problem = base.BaseProblem(
        base.NanoModel(10), data, tokenizer, base.Sampling(24, 0.5), 1, torch.device("cpu")
    )
    one, again, other = problem._sample(4), problem._sample(4), problem._sample(5)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[2], other[2])
    z, hint, *_, corner = one
    row, column = (base.PATCH * corner).tolist()
    cut = frames[:, :, row : row + 24, column : column + 24]
    assert any(torch.equal(hint, source) for source in cut)
    assert torch.allclose(z, (hint - base.SD3_SHIFT) * base.SD3_SCALE)
