from __future__ import annotations

import logging

import pytest
import torch
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.loop import Loop
from ccm_pack.training.optimizer import rate
from ccm_pack.training.processes import has_bf16
from small_problem import CPU, SmallProblem, small_config


def steps(loop: Loop, n: int) -> Loop:
    for _ in range(n):
        loop.advance()
    return loop


def parameters(loop: Loop) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in loop.parameters.values()])


def test_a_step_is_that_of_adamw_on_the_whole_effective_batch():
    config = small_config(optimizer={"clip_norm": 0, "weight_decay": 0.1})
    loop = steps(Loop(SmallProblem(), config, CPU), 3)
    plain = SmallProblem()
    optimizer = torch.optim.AdamW(plain.parameters.values(), weight_decay=0.1)
    for t in range(3):
        optimizer.param_groups[0]["lr"] = rate(t, config.optimizer).learning_rate
        optimizer.zero_grad()
        plain.losses(range(4 * t, 4 * t + 4)).mean().backward()
        optimizer.step()
    expected = torch.cat([p.detach().flatten() for p in plain.parameters.values()])
    assert torch.allclose(parameters(loop), expected, atol=1e-6)


def test_every_sample_is_used_once_and_in_order():
    loop = steps(Loop(SmallProblem(), small_config(), CPU), 3)
    assert loop.problem.seen == list(range(12))


def test_the_same_seed_gives_the_same_bits():
    a, b = (steps(Loop(SmallProblem(), small_config(), CPU), 5) for _ in range(2))
    assert torch.equal(parameters(a), parameters(b))


def test_out_of_memory_halves_the_micro_batch_and_loses_no_sample(caplog):
    config = small_config(optimizer={"batch": 8, "accumulation": 1})
    with caplog.at_level(logging.WARNING):
        tight = steps(Loop(SmallProblem(room=2), config, CPU), 3)
    roomy = steps(Loop(SmallProblem(), config, CPU), 3)
    assert tight.micro_batch == 2
    assert torch.allclose(parameters(tight), parameters(roomy), atol=1e-6)
    assert tight.problem.seen[-16:] == list(range(8, 24))
    assert "micro-batches of 2. The effective batch stays 8, no sample is lost." in caplog.text


def test_out_of_memory_with_one_sample_says_what_to_do():
    with pytest.raises(TrainingError, match="memory.checkpointing = true"):
        Loop(SmallProblem(room=0), small_config(), CPU).advance()


def test_other_errors_are_not_taken_for_memory():
    problem = SmallProblem()
    problem.target = torch.zeros(3, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        Loop(problem, small_config(), CPU).advance()


def test_a_loss_that_is_not_finite_ends_the_run_before_it_spoils_the_adapter():
    problem = SmallProblem()
    loop = Loop(problem, small_config(), CPU)
    problem.target[0, 0] = torch.inf
    before = parameters(loop)
    with pytest.raises(TrainingError, match="Step 1 has a loss of inf"):
        loop.advance()
    assert torch.equal(parameters(loop), before)


def test_the_gradient_is_clipped():
    config = small_config(optimizer={"clip_norm": 1e-3})
    loop = Loop(SmallProblem(), config, CPU)
    step = loop.advance()
    first = loop.optimizer.state[loop.parameters["a"]]["exp_avg"].norm() ** 2
    second = loop.optimizer.state[loop.parameters["b"]]["exp_avg"].norm() ** 2
    assert step.gradient_norm > 1e-3
    assert (first + second).sqrt().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


@pytest.mark.parametrize("able", ["amx_bf16", "avx512_bf16", "bf16", "avx2"])
def test_auto_computes_in_bf16_where_the_processor_does(monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {able: True, "avx512_f": True}, raising=False)
    loop = Loop(SmallProblem(), small_config(memory={"autocast": "auto"}), CPU)
    with loop._autocast():
        assert torch.is_autocast_enabled("cpu") == (able != "avx2")


def test_a_pytorch_that_does_not_tell_computes_in_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bf16(torch.device("cpu"))


def test_adapters_stay_fp32_under_autocast():
    loop = steps(Loop(SmallProblem(), small_config(memory={"autocast": "bf16"}), CPU), 2)
    plain = steps(Loop(SmallProblem(), small_config(), CPU), 2)
    assert all(p.dtype == torch.float32 for p in loop.parameters.values())
    assert not torch.equal(parameters(loop), parameters(plain))
    assert torch.allclose(parameters(loop), parameters(plain), atol=0.05)


def test_the_average_follows_its_formula_and_is_applied_for_a_while_only():
    loop = Loop(SmallProblem(), small_config(optimizer={"ema_decay": 0.5}), CPU)
    p = loop.parameters["a"]
    expected = p.detach().clone()
    for t, decay in ((1, 2 / 11), (2, 3 / 12), (3, 4 / 13)):
        loop.advance()
        expected = decay * expected + (1 - decay) * p.detach()
        assert loop.step == t
    trained, refreshed = p.detach().clone(), loop.problem.refreshed
    with loop.averaged():
        assert torch.allclose(p, expected, atol=1e-6) and loop.problem.refreshed == refreshed + 1
    assert torch.equal(p, trained) and loop.problem.refreshed == refreshed + 2


@pytest.mark.parametrize("extra", [{}, {"ema_decay": 0.9}, {"name": "adamw8bit"}])
def test_a_restored_loop_goes_on_with_the_same_bits(extra):
    if extra.get("name") == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    config = small_config(optimizer=extra)
    straight = Loop(SmallProblem(), config, CPU)
    steps(straight, 4)
    state = straight.checkpoint()
    kept = type(state)(state.step, {k: v.clone() for k, v in state.tensors.items()}, dict(state.numbers))
    steps(straight, 4)
    resumed = Loop(SmallProblem(), config, CPU)
    resumed.restore(kept)
    steps(resumed, 4)
    a, b = straight.checkpoint(), resumed.checkpoint()
    assert a.numbers == b.numbers and a.tensors.keys() == b.tensors.keys()
    assert all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)


def test_a_checkpoint_of_another_adapter_is_refused():
    state = Loop(SmallProblem(width=16), small_config(), CPU).checkpoint()
    with pytest.raises(TrainingError, match="another adapter"):
        Loop(SmallProblem(), small_config(), CPU).restore(state)


def test_the_8_bit_optimizer_follows_the_plain_one():
    pytest.importorskip("bitsandbytes")
    plain = steps(Loop(SmallProblem(), small_config(), CPU), 12)
    small = steps(Loop(SmallProblem(), small_config(optimizer={"name": "adamw8bit"}), CPU), 12)
    moved = (parameters(plain) - parameters(Loop(SmallProblem(), small_config(), CPU))).norm()
    assert (parameters(small) - parameters(plain)).norm() < 0.05 * moved
    assert small.optimizer.state[small.parameters["a"]]["state1"].dtype == torch.uint8


def test_without_bitsandbytes_the_8_bit_optimizer_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.optim", None)
    with pytest.raises(TrainingError, match="pip install bitsandbytes"):
        Loop(SmallProblem(), small_config(optimizer={"name": "adamw8bit"}), CPU)
