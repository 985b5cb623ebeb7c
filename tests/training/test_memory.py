from __future__ import annotations

import gc

import pytest
import torch
from ccm_pack.training.loop import Loop
from ccm_pack.training.memory import peak_memory, predict_peak
from small_problem import CPU, SmallProblem, small_config

MB = 1 << 20


def test_the_peak_counts_each_storage_once_and_forgets_what_is_freed():
    with peak_memory(CPU.device) as nothing:
        pass
    with peak_memory(CPU.device) as meter:
        a = torch.zeros(MB)  # 4 MB
        b = a.view(2, -1)[0]
        del a, b
        c = torch.ones(MB // 2) + 1  # 2 MB each, one of them freed at once
        del c
    assert meter.peak - nothing.peak == 4 * MB


def test_what_is_live_before_counts():
    gc.collect()
    with peak_memory(CPU.device) as before:
        pass
    kept = torch.zeros(MB)
    with peak_memory(CPU.device) as after:
        pass
    assert after.peak - before.peak == kept.nbytes


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_a_prediction_is_what_the_run_needs(batch):
    config = small_config(optimizer={"batch": batch, "accumulation": 2, "ema_decay": 0.9})
    predicted = predict_peak(SmallProblem(width=512), config, CPU)
    gc.collect()
    with peak_memory(CPU.device) as before:
        pass
    loop = Loop(SmallProblem(width=512), config, CPU)
    with peak_memory(CPU.device) as meter:
        for _ in range(3):
            loop.advance()
    assert predicted.peak == pytest.approx(meter.peak, rel=0.05)
    assert predicted.resident - before.peak == pytest.approx(4 * 4 * 2 * 128 * 512 + 4 * 512**2, rel=0.01)
