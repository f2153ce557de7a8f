"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fastgan.data import Dataset
from fastgan.metrics.extractor import load_extractor
from fastgan.training.alarms import Alarm, Watch
from fastgan.training.capture import steps_of
from fastgan.training.config import TrainConfig
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.distributed import World
from fastgan.training.feed import Data, source_of
from fastgan.training.fid import FID, Best, Fid, default_extractor, labelled_of
from fastgan.training.inspection import check_networks
from fastgan.training.precision import matmul_precision
from fastgan.training.source import Resident, Source, Streamed, lost_workers_named
from fastgan.training.state import DivergenceError, TrainingState
from fastgan.training.table_diagnostics import TableDiagnostics
from fastgan.training.table_source import TableSource
from fastgan.training.window import Window

if TYPE_CHECKING:  # needs safetensors
    from fastgan.training.real_features import Kept

Measures = Diagnostics | TableDiagnostics


@dataclass(frozen=True)
class LogRow:
    """A row of the log: the steps since the row before.

    Attributes:
        step: the last of these steps, counted from 1.
        steps_per_second: their rate.
        values: means of the window's columns over these steps, and the values of
            :class:`fastgan.training.diagnostics.Diagnostics` after the last of them; ``"fid"`` if it has been
            measured then.
        alarms: alarms that last, and those that end with this row.
    """

    step: int
    steps_per_second: float
    values: dict[str, float]
    alarms: tuple[Alarm, ...] = ()


class Callback:
    """Hooks called during training; override those you need."""

    def on_progress(self, state: TrainingState) -> None:
        """Called before the first step and after each replay or eager step. Should be fast.

        On a GPU it is called after the launch. A replay on a CPU is many steps, up to the next log point or
        for about a tenth of a second.
        """

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        """Called every ``log_interval`` and ``metrics_interval`` steps and after the last."""

    def on_sample(self, state: TrainingState) -> None:
        """Called every ``sample_interval`` steps and after the last."""

    def on_best(self, state: TrainingState, best: Best) -> None:
        """Called after a measurement of FID that is the lowest so far, before ``on_checkpoint``."""

    def on_checkpoint(self, state: TrainingState) -> None:
        """Called every ``checkpoint_interval`` steps, after the last, and after ``checkpoint_minutes``.

        All statistics so far were finite.
        """


class Trainer:
    """Trains a generator against a discriminator; both may be any module.

    Args:
        generator: from ``[N, latent_dim]`` to samples; with ``labels`` in the config, from labels too.
        discriminator: from samples, and then labels, to logits of any shape.
        config: settings of the run.
        callbacks: called in this order, in the first process only.
        world: processes of the run.
        extractor: from float32 samples in the units of training to features ``[N, D]``, for
            ``config.metrics_interval``; moved to the device, and called in evaluation mode. None to load
            ``config.extractor`` or, without one, to train a classifier of the data's classes.

    Attributes:
        state: networks, optimizers and step.
        watch: alarms so far, in the first process.
        best: step and value of the lowest FID so far, in the first process; None without a measurement.
        missed: whether the measurement of FID at the current step is still to be made, as an interruption
            ended it.
        kept: where the moments of the real data's features are kept; None to compute them in each ``fit``.

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
        extractor: nn.Module | None = None,
    ) -> None:
        self.config = config or TrainConfig()
        self.state = TrainingState(generator, discriminator, self.config, world)
        self.callbacks = callbacks
        self.extractor = extractor
        if extractor is None and self.config.extractor is not None:
            self.extractor = load_extractor(self.config.extractor, self.state.device)
        self.kept: Kept | None = None
        self.best: Best | None = None
        self.missed = False
        self.watch = Watch()
        self._last_log = self._last_checkpoint = time.perf_counter()
        self._stopping = False

    def fit(self, data: Data, *, workers: int = 2) -> TrainingState:
        """Train for the remaining steps.

        Modules keep their modes: a frozen backbone in evaluation mode stays in it. But if all modules of a
        network are in evaluation mode, it is set to training mode, except for parts whose parameters are all
        frozen. Before the first step each network is called once, without an effect on training.

        Args:
            data: real samples. A tensor or array ``[N, ...]`` is copied to the device. A map-style dataset
                is read ahead batch by batch and need not fit there; its items are samples, or tuples that
                begin with one, such as (sample, label). Floats are converted to the dtype of the
                generator's weights; uint8 pixels are mapped from [0, 255] to [-1, 1]. A DataLoader provides
                its dataset and its workers only: the trainer draws the batches itself, with replacement, so
                that a run can be resumed. So its batch_size must be the config's, its sampler must draw all
                samples equally often, and it must have no collate_fn. Each batch is read with torch's,
                NumPy's and Python's global generators seeded by seed, step and rank, whichever process
                reads it. With ``labels`` in the config, the data are ``(samples, labels)``, a TensorDataset
                of both, a Dataset with labels, or a dataset of items (sample, label). Labels are whole
                numbers from 0 on.
            workers: number of processes that read a dataset; 0 reads between steps.

        Returns:
            The trained state; ``state.average`` is the generator to sample from.

        Raises:
            DivergenceError: if a loss becomes nan or infinite.
            ExtractorError: if the extractor does not take the samples, or its output is not ``[N, D]``.
            TypeError: if data are of an unsupported type, or a network returns no floats.
            ValueError: if there is no sample, one is not finite, a network does not fit, labels are missing
                or out of range, or a parameter requires a gradient that did not when the trainer was made.
            DataError: if a dataset fails to read a sample.
        """
        state = self.state
        for network in (state.generator, state.discriminator):
            _set_training(network)
        try:
            with (
                _threads(self.config.threads),
                matmul_precision(self.config.precision),
                lost_workers_named(),
                closing(source_of(data, state, workers)) as source,
            ):
                check_networks(state, source)
                diagnostics: Measures
                if isinstance(source, TableSource):
                    diagnostics = TableDiagnostics(state, source)
                else:
                    diagnostics = Diagnostics(state, source, data if isinstance(data, Dataset) else None)
                self._run(source, diagnostics, self._fid(source, data))
        finally:
            self._stopping = False
        return state

    def stop(self) -> None:
        """End :meth:`fit` after the current step; may be called from a signal handler or another thread.

        A replay on a CPU notices it within about a millisecond.
        """
        self._stopping = True

    def _fid(self, source: Source, data: Data) -> Fid | None:
        """Prepares measurements of FID, in the first process only."""
        if self.config.metrics_interval == 0 or self.state.world.rank:
            return None
        assert isinstance(source, Resident | Streamed)
        extractor = self.extractor or default_extractor(labelled_of(self.config, data))
        fid = Fid(self.state, source, extractor, lambda: self._stopping, self.kept)
        fid.prepare()
        if self.best is not None and self.best.kind != fid.kind:
            self.best = None
        return fid

    def _run(self, source: Source, diagnostics: Measures, fid: Fid | None) -> None:
        state, window = self.state, Window(self.state, source.statistics)
        steps = steps_of(state, source, window, lambda: self._stopping)
        self._last_log = self._last_checkpoint = time.perf_counter()
        self._progress()
        if fid is not None and self.missed:
            values = fid.measure()
            if values:
                self._report(LogRow(state.step, 0.0, values), fid)
        done = state.step >= self.config.steps or self._stopped_measuring()
        state.hold()
        while not done:
            steps.advance(self._until_event())
            self._progress()
            done = state.step >= self.config.steps or self._must_stop()
            done = self._notify(window, diagnostics, fid, done)

    def _until_event(self) -> int:
        """Number of steps until the next log, sample, checkpoint or measurement of FID."""
        config, step = self.config, self.state.step
        intervals = [config.log_interval, config.sample_interval, config.checkpoint_interval]
        intervals += [config.metrics_interval] if config.metrics_interval else []
        return min(config.steps - step, *(interval - step % interval for interval in intervals))

    def _must_stop(self) -> bool:
        # several processes must agree on the step; they do so at log points, where they synchronize anyway
        if self.state.world.size > 1 and self.state.step % self.config.log_interval:
            return False
        return self.state.world.any(self._stopping, self.state.device)

    def _stopped_measuring(self) -> bool:
        """Whether to stop before the next step, as FID, which takes long, was or should have been measured.

        Several processes agree on it.
        """
        return self.config.metrics_interval > 0 and self.state.world.any(self._stopping, self.state.device)

    @property
    def _called(self) -> Sequence[Callback]:
        return self.callbacks if self.state.world.rank == 0 else ()

    def _progress(self) -> None:
        for callback in self._called:
            callback.on_progress(self.state)

    def _notify(self, window: Window, diagnostics: Measures, fid: Fid | None, done: bool) -> bool:
        """Report to the callbacks what is due. Returns whether to stop."""
        step, config = self.state.step, self.config
        checkpoint = done or step % config.checkpoint_interval == 0
        measure = config.measures_at(step)
        log = checkpoint or measure or step % config.log_interval == 0
        if log:
            self._log(window, diagnostics, fid if measure else None)
            done = done or (measure and self._stopped_measuring())
            # only at log points, so that the rows of the log do not depend on time
            checkpoint = checkpoint or done or self._is_due()
        sample = done or step % config.sample_interval == 0
        for callback in self._called:
            if checkpoint:
                callback.on_checkpoint(self.state)
            if sample:
                callback.on_sample(self.state)
        if checkpoint:
            self._last_checkpoint = time.perf_counter()
        self.state.hold()  # callbacks may have replaced weights
        return done

    def _is_due(self) -> bool:
        minutes = self.config.checkpoint_minutes
        return minutes is not None and time.perf_counter() - self._last_checkpoint >= 60 * minutes

    def _log(self, window: Window, diagnostics: Measures, fid: Fid | None) -> None:
        rows = window.close()
        window.open()
        self._check_finite(rows)
        now = time.perf_counter()
        rate = len(rows) / (now - self._last_log)
        self._last_log = now
        if self.state.world.rank:
            return
        values = dict(zip(window.names, rows.mean(dim=0).tolist(), strict=True)) | diagnostics.measure()
        values |= {} if fid is None else fid.measure()
        self._report(LogRow(self.state.step, rate, values, self.watch.update(self.state.step, values)), fid)

    def _report(self, row: LogRow, fid: Fid | None) -> None:
        for callback in self._called:
            callback.on_log(self.state, row)
        distance = row.values.get(FID, math.inf)
        if fid is not None and distance < (math.inf if self.best is None else self.best.fid):
            self.best = Best(self.state.step, distance, fid.kind)
            for callback in self._called:
                callback.on_best(self.state, self.best)

    def _check_finite(self, rows: Tensor) -> None:
        finite = torch.isfinite(rows).all(dim=1)
        if not finite.all():
            step = self.state.step - len(rows) + 1 + int((~finite).nonzero()[0])
            raise DivergenceError(f"training diverged: nan or infinite at step {step}")


def _set_training(network: nn.Module) -> None:
    """Set a network to training mode, except frozen parts, if all its modules are in evaluation mode.

    If a module is in training mode, the user has chosen the modes.
    """
    if any(module.training for module in network.modules()):
        return
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use ``count`` CPU threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
