from __future__ import annotations

import torch
from ccm_pack.training.bases.host_modules import leave_inference_mode


def test_parameters_and_buffers_made_in_inference_mode_are_made_anew():
    with torch.inference_mode():
        module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).eval()
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    leave_inference_mode(module)
    x = torch.randn(3, 2, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert not any(tensor.is_inference() for tensor in module.state_dict().values())
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())
