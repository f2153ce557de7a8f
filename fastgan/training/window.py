"""All that passes between host and device while training, at log points alone."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.training.objectives.logits import SHARE
from fastgan.training.state import TrainingState

GRADIENT = "gradient"
"""Root mean square over generated samples x of |dl/dx|, l the generator's loss of one: what D sends to G."""


class Window:
    """The steps from one log point to the next: their settings on the way in, statistics on the way out.

    Both are tables on the device with one row a step, and the row is a number on the device as well, so
    that a captured step finds its own each time it is replayed.

    Args:
        state: what is trained.

    Attributes:
        names: of the columns: the objective's statistics and ``GRADIENT``, for which a step writes down the
            norm of the gradient of G's loss, a mean, by what this process showed to D. For ``SHARE`` it
            writes down either that or its negative.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self.names = (*state.objective.statistics, GRADIENT)
        config = state.config
        capacity = min(config.log_interval, config.checkpoint_interval, config.steps)
        # a row more than there are steps: what the last of them puts in force is never used
        self._settings = torch.zeros(
            capacity + 1, len(state.settings), device=state.device, dtype=torch.float32
        )
        self._statistics = torch.zeros(capacity, len(self.names), device=state.device, dtype=torch.float32)
        self._row = torch.zeros(1, dtype=torch.int64, device=state.device)
        shown = config.batch_size // (state.world.size * config.pack)
        self._root_shown = shown**0.5
        self._opened = state.step
        self.open()

    def open(self) -> None:
        """Send the settings of the coming steps to the device, the first in force; wait for nothing."""
        state, config = self._state, self._state.config
        self._opened = state.step
        steps = range(self._opened, self._opened + len(self._settings))
        table = [
            (
                *config.learning_rates_at(step),
                config.noise_at(step),
                config.average_weight_at(step),
                config.momentum_at(step),
            )
            for step in steps
        ]
        self._settings.copy_(torch.tensor(table, dtype=torch.float32))
        state.settings.copy_(self._settings[0])
        state.clock.fill_(state.step)
        self._row.zero_()

    @torch.no_grad()
    def end_step(self, statistics: dict[str, Tensor]) -> None:
        """Write down this step's scalars, a column each in the order of ``names``; the next step begins."""
        state = self._state
        choose(self._statistics).record(
            self._statistics,
            self._row,
            [statistics[name].float() for name in self.names],
            *(self._settings, state.settings, state.clock),
        )

    def close(self) -> Tensor:
        """Wait for the device: the statistics ``[steps, columns]`` since it was opened, on the CPU."""
        written = self._statistics[: self._state.step - self._opened]
        rows = self._state.world.mean(written).to("cpu", copy=True)
        # here, as in each step it would be half a percent of a small one
        rows[:, -1] *= self._root_shown
        if SHARE in self.names:
            rows[:, self.names.index(SHARE)].abs_()
        return rows

    def tensors(self) -> dict[str, Tensor]:
        """What a step moves here."""
        return {"row": self._row, "clock": self._state.clock, "settings": self._state.settings}
