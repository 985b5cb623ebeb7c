from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs the host's modules on the path (COMFYUI_PATH)")

from ccm_pack.training.config import OptimizerConfig
from ccm_pack.training.nano import STAGES, autoencoder, base, family, learning


def test_every_stage_can_be_trained_and_the_decoders_grain_comes_after_what_it_draws_with():
    assert all(callable(getattr(family, f"{stage}_stage")) for stage in STAGES)
    assert STAGES.index("grain") > STAGES.index("wdlora")


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
    frames = (np.random.default_rng(2).random((2, 96, 96)) * 255).astype(np.uint8)
    latents = projection.encode(torch.from_numpy(frames).float() / 255)
    decoder = autoencoder.build(projection).get_submodule("taesd_decoder")
    return autoencoder.DecoderProblem(decoder, frames, latents, 0, 3, torch.device("cpu"))


def test_a_decoder_crop_depends_on_its_position_alone_and_lies_under_its_latents(
    crops, projection, monkeypatch
):
    assert all(torch.equal(a, b) for a, b in zip(crops._crop(7), crops._crop(7), strict=True))
    monkeypatch.setattr(autoencoder, "LATENT_NOISE", 0.0)
    z, target = crops._crop(7)
    assert (z - projection.encode(target)[0]).abs().max() < 1e-5


def test_a_judge_that_tells_nothing_apart_leaves_the_decoder_its_reconstruction(crops, monkeypatch):
    monkeypatch.setattr(autoencoder, "energy_loss", lambda out, target: torch.zeros(()))
    problem = autoencoder.GrainProblem(
        deepcopy(crops.decoder), crops.frames, crops.latents, crops.latents, 3, torch.device("cpu")
    )
    for p in problem.judge.parameters():
        p.data.zero_()
    plain = crops.losses(range(2)).mean()
    judged = problem.losses(range(2)).mean()
    hinge = 2.0  # 1 for the true ones, 1 for the decoded
    assert judged.item() == pytest.approx(plain.item() + hinge, rel=1e-5)
    decoder = dict(problem.decoder.named_parameters())
    wanted = torch.autograd.grad(plain, list(crops.decoder.parameters()))
    found = torch.autograd.grad(judged, list(decoder.values()), retain_graph=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, wanted, strict=True))
    (bias,) = torch.autograd.grad(judged, [problem.parameters["judge.score.bias"]])
    assert bias.item() == pytest.approx(0.0, abs=1e-4)  # up for the true, down for the decoded


def test_energies_of_a_batch_and_of_its_crops_in_another_order_are_the_same():
    frames = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert autoencoder.energy_loss(frames, frames.flip(0)).item() == pytest.approx(0.0, abs=1e-6)
    # half the contrast is a quarter of the energy, at every frequency and place
    weaker = autoencoder.energy_loss(0.5 * frames, frames).item()
    assert weaker == pytest.approx(autoencoder.ENERGY_WEIGHT * 2 * np.log(4), rel=0.02)


def test_learning_goes_on_from_its_checkpoint_to_the_same_decoder(crops, tmp_path):
    def train(name, *ends):
        decoder = deepcopy(crops.decoder)
        problem = autoencoder.DecoderProblem(decoder, crops.frames, crops.latents, 0, 3, torch.device("cpu"))
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
