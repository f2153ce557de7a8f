"""Exchanges settings and statistics between host and device, only at log points."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.cpu.tape import Tape
from fastgan.training.objectives.logits import SHARE
from fastgan.training.state import PROBABILITY, TrainingState

GRADIENT = "gradient"
"""Root mean square of |dl/dx| over generated samples x, with G's loss l of a sample: D's feedback to G."""


class Window:
    """Settings and statistics of the steps from one log point to the next.

    Both are tables on the device with one row per step. The index of the current row is on the device too, so
    that a captured step finds its row in each replay.

    Args:
        state: the state of training.
        of_generation: names of the statistics of the generation of samples.

    Attributes:
        names: names of the columns: the objective's statistics, perhaps ``PROBABILITY``, those of the
            generation, and ``GRADIENT``. A step records raw values that ``close`` converts: for ``GRADIENT``
            the norm of the gradient of G's mean loss with respect to this process's samples, for ``SHARE``
            perhaps its negative.
    """

    def __init__(self, state: TrainingState, of_generation: tuple[str, ...] = ()) -> None:
        self._state = state
        of_augmentation = (PROBABILITY,) if state.adaptive is not None else ()
        self.names = (*state.objective.statistics, *of_augmentation, *of_generation, GRADIENT)
        config = state.config
        capacity = min(config.log_interval, config.checkpoint_interval, config.steps)
        # one more row than steps: each step loads the next row
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
        """Send the settings of the next steps to the device, and load the first; does not wait."""
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
        """Record this step's scalars in the order of ``names``, and load the next step's settings."""
        state = self._state
        choose(self._statistics).record(
            self._statistics,
            self._row,
            [statistics[name].float() for name in self.names],
            *(self._settings, state.settings, state.clock),
        )

    def record(self, tape: Tape, statistics: dict[str, Tensor]) -> None:
        """Add :meth:`end_step` to a recorded step, with the memory of its scalars."""
        state = self._state
        scalars = [statistics[name] for name in self.names]
        tape.record(self._statistics, self._row, scalars, self._settings, state.settings, state.clock)

    def close(self) -> Tensor:
        """Wait for the device; return the statistics ``[steps, columns]`` since ``open``, on the CPU."""
        written = self._statistics[: self._state.step - self._opened]
        rows = self._state.world.mean(written).to("cpu", copy=True)
        # not in each step: it would take half a percent of a small one
        rows[:, -1] *= self._root_shown
        if SHARE in self.names:
            rows[:, self.names.index(SHARE)].abs_()
        return rows

    def tensors(self) -> dict[str, Tensor]:
        """Tensors that a step changes."""
        return {"row": self._row, "clock": self._state.clock, "settings": self._state.settings}
