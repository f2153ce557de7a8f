"""Sources of real samples: resident on the device, or streamed by a loader that reads ahead."""

from __future__ import annotations

import itertools
import random
import reprlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from fastgan.data.augmentation import DRAWN, Augmentation
from fastgan.data.dataset import DataError
from fastgan.kernels import available_backends, choose, load
from fastgan.kernels.pixels import unit_range
from fastgan.training.draws import INTEGERS, Indices, draw
from fastgan.training.failure import Failure
from fastgan.training.setting import is_whole
from fastgan.training.signals import ignore_signals
from fastgan.training.state import TrainingState


class MapStyle(Protocol):
    """A map-style dataset of torch.utils.data; items are samples, or tuples of one, a label and others."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Source(Protocol):
    """Real samples for steps.

    Attributes:
        dtype: dtype of the samples.
        labels: int64, those of the samples given last, on their device; None if the run has none.
        statistics: names of the statistics that the generation of samples adds to a step's.
    """

    dtype: torch.dtype
    labels: Tensor | None
    statistics: tuple[str, ...]

    def prepare(self, state: TrainingState) -> None:
        """Host work before a step, outside of any captured graph."""

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        """This process's part of the batch of D's given turn in this step; written to ``into`` if given."""

    def look(self, count: int, rng: torch.Generator) -> Tensor:
        """About ``count`` samples, without an effect on training."""

    def close(self) -> None:
        """End the processes that read ahead."""


class WholeSource(Source, Protocol):
    """A source whose samples can be measured as a whole."""

    def everything(self, size: int) -> Iterator[Tensor]:
        """All samples in order, in batches of ``size``, without an effect on training."""

    def random_labels(self, count: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
        """Labels of ``count`` samples drawn at random, as ``everything``; only in a run with labels."""


class Resident:
    """Samples on the device; batches are drawn there, with replacement.

    Args:
        samples: ``[N, ...]`` on the device: floats, or uint8 pixels, which batches convert to floats.
        augmentation: random crops and flips of images, or None.
        dtype: dtype of batches of uint8 pixels.
        classes: int64 ``[N]`` on the device, the labels of the samples; None for a run without labels.
    """

    statistics: tuple[str, ...] = ()

    def __init__(
        self,
        samples: Tensor,
        augmentation: Augmentation | None = None,
        dtype: torch.dtype = torch.float32,
        classes: Tensor | None = None,
    ) -> None:
        self.samples, self.augmentation = samples, augmentation
        self.classes = classes
        self.labels: Tensor | None = None
        self.dtype = dtype if samples.dtype is torch.uint8 else samples.dtype

    def prepare(self, state: TrainingState) -> None:
        pass

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        rows = state.draws.integers(len(self.samples), state.share)
        self._note_labels(rows)
        if self.augmentation is None:
            return choose(self.samples).gather(self.samples, rows, self.dtype, into)
        numbers = state.uniform(state.share, DRAWN)
        batch = unit_range(self.augmentation.draw(self.samples, rows, numbers), self.dtype)
        return batch if into is None else into.copy_(batch)

    def look(self, count: int, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(self.samples), (count,), generator=rng, device=self.samples.device)
        self._note_labels(rows)
        return self._central(self.samples.index_select(0, rows))

    def everything(self, size: int) -> Iterator[Tensor]:
        return map(self._central, self.samples.split(size))

    def random_labels(self, count: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
        assert self.classes is not None
        rows = torch.randint(len(self.samples), (count,), generator=rng, device=self.samples.device)
        return iter(self.classes.index_select(0, rows).split(size))

    def _central(self, samples: Tensor) -> Tensor:
        central = samples if self.augmentation is None else self.augmentation.central(samples)
        return unit_range(central, self.dtype)

    def close(self) -> None:
        pass

    def _note_labels(self, rows: Tensor) -> None:
        if self.classes is not None:
            self.labels = self.classes.index_select(0, rows)


class Streamed:
    """Samples of a map-style dataset that need not fit on the device, read ahead by worker processes.

    The rows of a turn are those that resident samples would have. They, and the numbers that the dataset
    draws from the global generators of torch, NumPy and Python as it reads them, depend only on the seed, the
    turn's number and the process's rank. So a resumed run needs no sampler state, and results do not depend
    on reading ahead or on the number of workers.

    Args:
        dataset: map-style; items are samples, or tuples that begin with one and, for a run with labels, its
            label.
        state: state of the run at its first step.
        workers: number of processes that read; 0 reads between steps.
        prepare: called with a worker's number when it starts.

    Raises:
        DataError: when a step needs a sample that cannot be read.
    """

    statistics: tuple[str, ...] = ()

    def __init__(
        self,
        dataset: MapStyle,
        state: TrainingState,
        workers: int,
        prepare: Callable[[int], None] | None = None,
    ) -> None:
        # the loader's own generator: it would otherwise draw from the global one, and change dropout
        entropy = np.random.SeedSequence([state.config.seed, state.step], spawn_key=(state.world.rank, 0))
        of_workers = torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
        self._count, self._device = len(dataset), state.device
        self._loader: Callable[..., DataLoader[Any]] = partial(
            DataLoader,
            _Guarded(dataset, state),  # type: ignore[arg-type]
            collate_fn=_as_is,
            num_workers=workers,
            worker_init_fn=partial(_begin, prepare),
            pin_memory=state.device.type == "cuda",
            generator=of_workers,
        )
        draws: Any = _Draws(dataset, state)
        self._batches: Iterator[Any] = iter(self._loader(batch_sampler=draws))
        try:
            turns = range(state.config.discriminator_steps)
            self._turns = [[t.to(state.device) for t in _next(self._batches)] for _ in turns]
        except BaseException:
            self.close()
            raise
        self.dtype = self.turns[0].dtype
        self.labels = self._labels_of(0)
        self._step = state.step

    @property
    def turns(self) -> list[Tensor]:
        """The samples of each turn."""
        return [samples for samples, *_ in self._turns]

    def prepare(self, state: TrainingState) -> None:
        if state.step != self._step:
            for turn in self._turns:
                for kept, new in zip(turn, _next(self._batches), strict=True):
                    kept.copy_(new, non_blocking=True)  # a captured step always reads from the same address
            self._step = state.step

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        self.labels = self._labels_of(turn)
        return self.turns[turn] if into is None else into.copy_(self.turns[turn])

    def look(self, count: int, rng: torch.Generator) -> Tensor:
        if self.labels is not None:
            self.labels = torch.cat([labels for _, labels in self._turns])
        return torch.cat(self.turns)  # saves reading others from the disk

    def everything(self, size: int) -> Iterator[Tensor]:
        for samples, *_ in self._read(torch.arange(self._count).split(size)):
            yield samples.to(self._device)

    def random_labels(self, count: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
        # not those of the current step: a resumed run would have others
        rows = torch.randint(self._count, (count,), generator=rng, device=rng.device)
        for _, labels in self._read(rows.split(size)):
            yield labels.to(self._device)

    def close(self) -> None:
        _end(self._batches)

    def _read(self, parts: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """Batches of these rows, without an effect on training."""
        # seeds of their own, so that random crops are the same each time
        batches = [_Batch(rows.tolist(), np.random.SeedSequence(int(rows[0]))) for rows in parts]
        reading: Iterator[Any] = iter(self._loader(batch_sampler=batches))
        try:
            for _ in batches:
                yield _next(reading)
        finally:
            _end(reading)

    def _labels_of(self, turn: int) -> Tensor | None:
        _, *labels = self._turns[turn]
        return labels[0] if labels else None


def _next(batches: Iterator[Any]) -> list[Tensor]:
    """The samples of a batch and, for a run with labels, these."""
    try:
        read: list[Tensor] | Failure = next(batches)
    except (ConnectionError, EOFError, FileNotFoundError) as error:
        # fetching a batch from a lost worker fails before torch notices the loss
        raise _lost_worker(str(error) or "no more data") from error
    if isinstance(read, Failure):
        read.raise_it()
    return read


def _end(batches: Iterator[Any]) -> None:
    # An exception's traceback may keep the iterator alive. As long as torch knows of a lost worker, it
    # raises the worker's error again when another child process ends.
    if isinstance(batches, _MultiProcessingDataLoaderIter):
        batches._shutdown_workers()


@contextmanager
def lost_workers_named() -> Iterator[None]:
    """Turn torch's error about a lost worker, which may occur anywhere in the context, into a DataError."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _lost_worker(str(error).partition("\n")[0]) from error


def _lost_worker(reason: str) -> DataError:
    return DataError(f"a process that reads data is gone ({reason}); lower --workers if memory is short")


class _Batch(NamedTuple):
    """Rows to read, and the seeds of the random numbers drawn as they are read."""

    rows: list[int]
    seeds: np.random.SeedSequence


class _Draws(Sampler[_Batch]):
    """This process's rows of each batch from the state's step on, drawn with replacement."""

    def __init__(self, dataset: MapStyle, state: TrainingState) -> None:
        self._count, self._share = len(dataset), state.share
        self._config, self._world = state.config, state.world
        self._first = state.step
        self._backend = load(available_backends()[0])  # for the host, whichever runs on the device

    def __iter__(self) -> Iterator[_Batch]:
        seed, turns = self._config.seed, self._config.discriminator_steps
        for step in itertools.count(self._first):
            clock, indices = torch.tensor([step], device="cpu"), Indices(self._world)
            for turn in range(turns):
                (own,) = indices.take(INTEGERS, self._share)
                rows = draw(self._backend, INTEGERS, own, self._count, seed, clock)
                entropy = [seed, step * turns + turn]
                seeds = np.random.SeedSequence(entropy, spawn_key=(self._world.rank,))
                yield _Batch(rows.tolist(), seeds)


class _Guarded:
    """Reads batches of a dataset; returns a Failure that names the sample if one cannot be read."""

    def __init__(self, dataset: Any, state: TrainingState) -> None:
        self.dataset, self._dtype = dataset, state.dtype
        self._has_labels, self._classes = state.config.labels, state.num_classes

    def __getitems__(self, batch: _Batch) -> list[Tensor] | Failure:
        reading = f"data.__getitems__({reprlib.repr(batch.rows)})"
        try:
            with _random_numbers(batch.seeds):
                if hasattr(self.dataset, "__getitems__"):
                    items = self.dataset.__getitems__(batch.rows)
                else:
                    items = []
                    for row in batch.rows:
                        reading = f"data[{row}]"
                        items.append(self.dataset[row])
            samples = unit_range(_stacked(items, batch.rows), self._dtype)
            _check_finite(samples, batch.rows)
            return [samples, _labels(items, batch.rows, self._classes)] if self._has_labels else [samples]
        except Exception as error:
            return Failure.of(error, reading)


def _stacked(items: Any, rows: list[int]) -> Tensor:
    """One tensor with the samples of these rows, from their items or from a tensor of all of them."""
    samples = sample_of(items) if isinstance(items, Tensor) else [sample_of(item) for item in items]
    if len(samples) != len(rows):
        raise DataError(
            f"data.__getitems__ gives a batch of {len(samples)} for {len(rows)} rows; give a sample for each"
        )
    if isinstance(samples, Tensor):
        return samples
    shape = samples[0].shape
    for row, sample in zip(rows, samples, strict=True):
        if sample.shape != shape:
            raise DataError(
                f"data[{row}] has shape {list(sample.shape)} and data[{rows[0]}] {list(shape)}; "
                "give all samples one shape"
            )
    return torch.stack(samples)


def _labels(items: Any, rows: list[int], classes: int) -> Tensor:
    """The second elements of items, int64 ``[len(rows)]``."""
    labels = []
    for row, item in zip(rows, items, strict=True):
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise DataError(f"data[{row}] has no label; give items (sample, label), or train without labels")
        label = item[1].item() if isinstance(item[1], (Tensor, np.generic, np.ndarray)) else item[1]
        if not is_whole(label) or label < 0 or 0 < classes <= label:
            expected = f"0 to {classes - 1}" if classes else "a whole number from 0 on"
            raise DataError(f"data[{row}] has label {label!r}, expected {expected}")
        labels.append(label)
    return torch.tensor(labels)


def _check_finite(samples: Tensor, rows: list[int]) -> None:
    if samples.sum().isfinite():  # much faster than checking each number
        return
    for row, sample in zip(rows, samples, strict=True):
        if not sample.isfinite().all():
            raise DataError(
                f"data[{row}] holds nan or infinite values, expected finite ones of {sample.dtype}"
            )


@contextmanager
def _random_numbers(seeds: np.random.SeedSequence) -> Iterator[None]:
    """Seed the global generators of torch (CPU), NumPy and Python; restore them afterwards."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - users' code draws from it
    of_torch, of_python = seeds.generate_state(2, np.uint64).tolist()
    torch.default_generator.manual_seed(of_torch)
    np.random.seed(seeds.generate_state(4))  # noqa: NPY002
    random.seed(of_python)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


def _begin(prepare: Callable[[int], None] | None, worker: int) -> None:
    ignore_signals()
    info: Any = get_worker_info()
    object.__setattr__(info, "dataset", info.dataset.dataset)  # the user's dataset; WorkerInfo is frozen
    if prepare is not None:
        prepare(worker)


def _as_is(batch: Any) -> Any:
    return batch


def sample_of(item: Any) -> Tensor:
    """The sample in a dataset's item: a tensor, an array, or the first element of a tuple or list."""
    sample = item[0] if isinstance(item, (tuple, list)) and item else item
    if isinstance(sample, np.ndarray) and sample.dtype.kind in "fu":
        sample = tensor_of(sample)
    if not isinstance(sample, Tensor) or not is_numeric(sample):
        found = sample.dtype if isinstance(sample, Tensor) else type(sample).__name__
        raise DataError(
            f"data has items of {found}, expected tensors of floats or uint8, or tuples that begin with one"
        )
    return sample


def tensor_of(array: NDArray[Any]) -> Tensor:
    """A copy of an array, which may be read-only, or have negative strides or another byte order.

    Raises:
        DataError: if values are masked.
    """
    if np.ma.is_masked(array):
        raise DataError("data has masked values, which a tensor cannot have; fill them, or leave them out")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def is_numeric(samples: Tensor) -> bool:
    """Whether samples are floats or uint8 pixels."""
    return samples.is_floating_point() or samples.dtype is torch.uint8
