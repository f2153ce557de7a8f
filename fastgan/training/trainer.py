"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastgan.data import Dataset
from fastgan.training.alarms import Alarm, Watch
from fastgan.training.capture import steps_of
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.distributed import World
from fastgan.training.source import MapStyle, Resident, Source, Streamed, sample_of
from fastgan.training.state import DivergenceError, TrainingState
from fastgan.training.window import Window


@dataclass(frozen=True)
class LogRow:
    """What the log says of the steps since the last row.

    Attributes:
        step: the last of these steps, counted from 1.
        steps_per_second: their rate.
        values: mean of each of the window's columns, and what
            :class:`fastgan.training.diagnostics.Diagnostics` measured after the last of these steps.
        alarms: those that last, and those that end with this row.
    """

    step: int
    steps_per_second: float
    values: dict[str, float]
    alarms: tuple[Alarm, ...] = ()


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
        callbacks: called in this order, in the first process alone.
        world: the processes that share the run.

    Attributes:
        state: what is trained.
        watch: the alarms that there were, in the first process.

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
        world: World | None = None,
    ) -> None:
        self.config = config or TrainConfig()
        self.state = TrainingState(generator, discriminator, self.config, world)
        self.callbacks = callbacks
        self.watch = Watch()
        self._last_log = time.perf_counter()
        self._stopping = False

    def fit(self, data: Tensor | Dataset | MapStyle, *, workers: int = 2) -> TrainingState:
        """Train for the steps that are left.

        Args:
            data: ``[N, ...]`` real samples, copied to the device; or a map-style dataset of them, read
                ahead batch by batch, which need not fit there.
            workers: processes that read such a dataset; 0 reads between steps.

        Returns:
            The trained state; ``state.average`` is the generator to sample from.

        Raises:
            DivergenceError: if a loss becomes nan or infinite.
            TypeError: if the data are neither a tensor of floats nor a dataset of them.
            ValueError: if there is no sample, one is not finite, or the generator does not fit.
            DataError: if a dataset fails to read a sample.
        """
        state = self.state
        state.generator.train()
        state.discriminator.train()
        try:
            with _threads(self.config.threads), _matmul_precision(self.config.precision):
                source = self._source(data, workers)
                self._run(source, Diagnostics(state, source, data if isinstance(data, Dataset) else None))
        finally:
            self._stopping = False
        return state

    def _source(self, data: Tensor | Dataset | MapStyle, workers: int) -> Source:
        samples = data.samples if isinstance(data, Dataset) else data
        if isinstance(samples, Tensor):
            _check_samples(samples)
            self._check_generator(samples[0])
            return Resident(samples.to(self.state.device))
        if (
            not hasattr(samples, "__getitem__")
            or not hasattr(samples, "__len__")
            or isinstance(samples, list)
        ):
            raise TypeError(
                f"data is a {type(samples).__name__}, expected a Tensor, a Dataset, or a map-style dataset"
            )
        if len(samples) == 0:
            raise ValueError("data holds no sample, expected at least one")
        if self.config.steps_per_replay > 1:
            raise ConfigError(
                f"steps_per_replay is {self.config.steps_per_replay}, expected 1 for data that is streamed"
            )
        self._check_generator(sample_of(samples[0]))
        return Streamed(samples, self.state, workers)

    def stop(self) -> None:
        """End :meth:`fit` after the step that is running; callable from a signal handler."""
        self._stopping = True

    def _check_generator(self, real: Tensor) -> None:
        """Generate one sample: its shape must be that of a real one."""
        device, latent_dim = self.state.device, self.config.latent_dim
        try:
            shape = self.state.look(torch.zeros(1, latent_dim, device=device)).shape[1:]
        except RuntimeError as error:
            raise ValueError(f"generator does not take latent_dim={latent_dim}: {error}") from error
        if shape != real.shape:
            raise ValueError(
                f"generator makes samples of shape {list(shape)}, expected {list(real.shape)} as in data"
            )

    def _run(self, source: Source, diagnostics: Diagnostics) -> None:
        state, window = self.state, Window(self.state)
        steps = steps_of(state, source, window)
        self._last_log = time.perf_counter()
        done = state.step >= self.config.steps
        state.hold()
        while not done:
            steps.advance(self._until_event())
            done = state.step >= self.config.steps or self._must_stop()
            self._notify(window, diagnostics, done)

    def _until_event(self) -> int:
        """How many steps until the host has something to do."""
        config, step = self.config, self.state.step
        intervals = (config.log_interval, config.sample_interval, config.checkpoint_interval)
        return min(config.steps - step, *(interval - step % interval for interval in intervals))

    def _must_stop(self) -> bool:
        # several processes must stop at the same step, and agree on it where they meet anyway
        if self.state.world.size > 1 and self.state.step % self.config.log_interval:
            return False
        return self.state.world.any(self._stopping, self.state.device)

    def _notify(self, window: Window, diagnostics: Diagnostics, done: bool) -> None:
        step, config = self.state.step, self.config
        checkpoint = done or step % config.checkpoint_interval == 0
        if checkpoint or step % config.log_interval == 0:
            self._log(window, diagnostics)
        for callback in self.callbacks if self.state.world.rank == 0 else ():
            if checkpoint:
                callback.on_checkpoint(self.state)
            if done or step % config.sample_interval == 0:
                callback.on_sample(self.state)

    def _log(self, window: Window, diagnostics: Diagnostics) -> None:
        rows = window.close()
        window.open()
        self._check_finite(rows)
        now = time.perf_counter()
        rate = len(rows) / (now - self._last_log)
        self._last_log = now
        if self.state.world.rank:
            return
        values = dict(zip(window.names, rows.mean(dim=0).tolist(), strict=True)) | diagnostics.measure()
        row = LogRow(self.state.step, rate, values, self.watch.update(self.state.step, values))
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
def _matmul_precision(precision: str) -> Iterator[None]:
    """Let float32 products be of TensorFloat-32 if that is the precision asked for, and not otherwise."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use that many CPU threads in what runs inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
