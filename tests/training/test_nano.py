from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs the host's modules on the path (COMFYUI_PATH)")

from ccm_pack.training.nano import autoencoder, base


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


def test_training_makes_the_three_output_channels_equal(projection):
    frames = (np.random.default_rng(2).random((2, 64, 64)) * 255).astype(np.uint8)
    vae = autoencoder.build(projection)
    latents = projection.encode(torch.from_numpy(frames).float() / 255)
    schedule = autoencoder.DecoderSchedule(steps=1, learning_rate=1e-3, rim_px=0, seed=0, crop=4, batch=2)
    autoencoder.train_decoder(vae, frames, latents, schedule)
    with torch.no_grad():
        x = vae.decode(latents)
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])


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
