"""The averaged adapter: an exponential moving average of the trained parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Keeps a <- d a + (1 - d) p after every step, where d = min(decay, (1 + t) / (10 + t)) at step t.

    The smaller d of the first steps lets the average forget where it started.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self.values = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in self._parameters.items():
                self.values[name].lerp_(p, 1 - decay)

    @contextmanager
    def applied(self, refresh: Callable[[], None]) -> Iterator[None]:
        """Within it, the parameters are the averages; `refresh` is called after each exchange."""
        trained = {name: p.detach().clone() for name, p in self._parameters.items()}
        try:
            self._write(self.values)
            refresh()
            yield
        finally:
            self._write(trained)
            refresh()

    def _write(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(values[name])
