"""The embedded diffusion model with fresh weights, trained whole; only autoencoder and prompt encoder are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...ccm.errors import TrainingError
from .. import objective
from ..bases.routes import ControlRoute
from ..task import bare
from ..trainer import Setup
from ..validate import Validation
from . import Rival


class ScratchProblem:
    """Implements `loop.Problem`: the network of the base and its control net."""

    def __init__(self, setup: Setup, route: ControlRoute) -> None:
        self.setup = setup
        self.parts = {"base": setup.base.network, "control": route.net.control_model}

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {f"{part}.{n}": p for part, m in self.parts.items() for n, p in m.named_parameters()}

    def losses(self, positions: range) -> Tensor:
        setup = self.setup
        batch = setup.prepared.batch([setup.sampler.sample(k) for k in positions])
        return objective.loss(setup.base, batch.to(setup.processes.device), setup.config.objective)

    def refresh(self) -> None:
        """Nothing is derived from the parameters."""


@contextmanager
def rival(setup: Setup, validation: Validation) -> Iterator[Rival]:
    """Within it, the base has fresh weights; the setup cannot be used for another arm afterwards."""
    route = getattr(setup.base, "route", None)
    if setup.base.family != "nano" or not isinstance(route, ControlRoute):
        raise TrainingError(
            f"The arm scratch is there for the embedded family with its control net, not for {setup.base.family}",
            fix="leave the arm scratch out",
        )
    config = setup.config
    samples = range(config.optimizer.steps * config.effective_batch)
    setup.prepared.fill(setup.sampler.sample(k) for k in samples)
    problem = ScratchProblem(setup, route)
    _begin(problem, config.run.seed)
    route.trained = True
    with bare(setup.base, config.memory, setup.processes.device):
        yield Rival(problem)


def _begin(problem: ScratchProblem, seed: int) -> None:
    """Put the first values of a fresh family into the networks, and let them be trained."""
    from ..nano.base import NanoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = NanoModel(1)
    for name, network in problem.parts.items():
        values = dict(fresh.get_submodule(name).named_parameters())
        network.load_state_dict({**network.state_dict(), **values})
        network.float().requires_grad_(True)
