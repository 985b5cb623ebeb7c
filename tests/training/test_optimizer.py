from __future__ import annotations

import pytest
import torch
from ccm_pack.training.config import OptimizerConfig
from ccm_pack.training.optimizer import rate


def rates(config: OptimizerConfig) -> list[float]:
    return [rate(step, config).learning_rate for step in range(config.steps)]


def test_warm_up_is_a_straight_line_and_constant_stays():
    config = OptimizerConfig(learning_rate=1.0, schedule="constant", warmup_steps=4, steps=6)
    assert rates(config) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_falls_through_the_half_to_zero():
    config = OptimizerConfig(learning_rate=1.0, schedule="cosine", warmup_steps=0, steps=4)
    assert rates(config) == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466])
    assert rate(4, config).learning_rate == 0.0


@pytest.mark.parametrize(("steps", "warmup"), [(20, 5), (100, 2), (7, 7)])
def test_one_cycle_is_that_of_pytorch(steps, warmup):
    config = OptimizerConfig(learning_rate=2e-3, schedule="one-cycle", warmup_steps=warmup, steps=steps)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=warmup / steps)
    for step in range(steps):
        group = optimizer.param_groups[0]
        assert rate(step, config) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-6)
        optimizer.step()
        if step + 1 < steps:
            schedule.step()


def test_other_schedules_leave_the_beta_alone():
    assert rate(3, OptimizerConfig(betas=(0.7, 0.9))).beta == 0.7
