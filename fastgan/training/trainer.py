"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastgan.data import Dataset
from fastgan.training.config import TrainConfig
from fastgan.training.state import DivergenceError, TrainingState
from fastgan.training.statistics import NAMES, Statistics
from fastgan.training.step import train_step


@dataclass(frozen=True)
class LogRow:
    """Means over the steps since the last row.

    Attributes:
        step: the last of these steps, counted from 1.
        steps_per_second: their rate.
        values: mean of each of ``fastgan.training.statistics.NAMES``.
    """

    step: int
    steps_per_second: float
    values: dict[str, float]


class Callback:
    """What may happen beside training; override what is wanted."""

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        """Called every ``log_interval`` steps and after the last."""

    def on_sample(self, state: TrainingState) -> None:
        """Called every ``sample_interval`` steps and after the last."""

    def on_checkpoint(self, state: TrainingState) -> None:
        """Called every ``checkpoint_interval`` steps and after the last.

        The statistics of every step until then were finite.
        """


class Trainer:
    """Trains a generator against a discriminator, any two modules.

    Args:
        generator: from ``[N, latent_dim]`` to samples.
        discriminator: from samples to logits of any shape.
        config: settings of the run.
        callbacks: called in this order.

    Example:
        >>> trainer = Trainer(generator, discriminator, TrainConfig(latent_dim=16))
        >>> state = trainer.fit(samples)
        >>> fresh = state.average(state.latent(64))
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: TrainConfig | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.config = config or TrainConfig()
        self.state = TrainingState(generator, discriminator, self.config)
        self.callbacks = callbacks
        self._statistics = Statistics(self.config.log_interval, self.state.device)
        self._last_log = time.perf_counter()
        self._stopping = False

    def fit(self, data: Tensor | Dataset) -> TrainingState:
        """Train for the steps that are left.

        Args:
            data: ``[N, ...]`` real samples, copied to the device.

        Returns:
            The trained state; ``state.average`` is the generator to sample from.

        Raises:
            DivergenceError: if a loss becomes nan or infinite.
            TypeError: if the data are neither a tensor of floats nor a Dataset.
            ValueError: if there is no sample, one is not finite, or the generator does not fit.
        """
        samples = data.samples if isinstance(data, Dataset) else data
        _check_samples(samples)
        self._check_generator(samples)
        samples = samples.to(self.state.device)
        self.state.generator.train()
        self.state.discriminator.train()
        try:
            with _threads(self.config.threads):
                self._run(samples)
        finally:
            self._stopping = False
        return self.state

    def stop(self) -> None:
        """End :meth:`fit` after the step that is running; callable from a signal handler."""
        self._stopping = True

    def _check_generator(self, samples: Tensor) -> None:
        """Generate one sample: its shape must be that of the data."""
        device, latent_dim = self.state.device, self.config.latent_dim
        latent = torch.zeros(1, latent_dim, device=device)
        # on the average, in evaluation mode, and with its random draws undone: training sees no trace
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            try:
                shape = self.state.average(latent).shape[1:]
            except RuntimeError as error:
                raise ValueError(f"generator does not take latent_dim={latent_dim}: {error}") from error
        if shape != samples.shape[1:]:
            raise ValueError(
                f"generator makes samples of shape {list(shape)}, expected {list(samples.shape[1:])} "
                "as in data"
            )

    def _run(self, samples: Tensor) -> None:
        self._last_log = time.perf_counter()
        done = self.state.step >= self.config.steps
        while not done:
            train_step(self.state, samples, self._statistics)
            done = self._stopping or self.state.step >= self.config.steps
            self._notify(done)

    def _notify(self, done: bool) -> None:
        step, config = self.state.step, self.config
        checkpoint = done or step % config.checkpoint_interval == 0
        if checkpoint or step % config.log_interval == 0:
            self._log()
        if checkpoint:
            for callback in self.callbacks:
                callback.on_checkpoint(self.state)
        if done or step % config.sample_interval == 0:
            for callback in self.callbacks:
                callback.on_sample(self.state)

    def _log(self) -> None:
        rows = self._statistics.drain()
        self._check_finite(rows)
        now = time.perf_counter()
        rate = len(rows) / (now - self._last_log)
        self._last_log = now
        row = LogRow(self.state.step, rate, dict(zip(NAMES, rows.mean(dim=0).tolist(), strict=True)))
        for callback in self.callbacks:
            callback.on_log(self.state, row)

    def _check_finite(self, rows: Tensor) -> None:
        finite = torch.isfinite(rows).all(dim=1)
        if not finite.all():
            step = self.state.step - len(rows) + 1 + int((~finite).nonzero()[0])
            raise DivergenceError(f"training diverged: nan or infinite at step {step}")


def _check_samples(samples: object) -> None:
    if not isinstance(samples, Tensor):
        raise TypeError(f"data is a {type(samples).__name__}, expected a Tensor or a Dataset")
    if not samples.is_floating_point():
        raise TypeError(f"data is {samples.dtype}, expected a floating-point dtype")
    if samples.dim() == 0 or len(samples) == 0:
        raise ValueError("data holds no sample, expected at least one")
    if not torch.isfinite(samples).all():
        raise ValueError("data holds nan or infinite values, expected finite ones")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use that many CPU threads in what runs inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
