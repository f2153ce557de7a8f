"""Where a step's real samples come from: the device, or a loader that reads ahead."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from fastgan.data.dataset import DataError
from fastgan.training.state import TrainingState


class MapStyle(Protocol):
    """A map-style dataset of torch.utils.data: its items are samples, or tuples that begin with one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Source(Protocol):
    """Real samples for steps.

    Attributes:
        dtype: theirs.
    """

    dtype: torch.dtype

    def prepare(self, state: TrainingState) -> None:
        """Host work before a step, outside of any captured graph."""

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        """This process's share of the batch of D's given turn in this step; in ``into``, where given."""

    def look(self, count: int, rng: torch.Generator) -> Tensor:
        """About that many samples, of which training sees no trace."""


class Resident:
    """Samples that lie on the device; batches are drawn there, with replacement.

    Args:
        samples: ``[N, ...]``, on the device.
    """

    def __init__(self, samples: Tensor) -> None:
        self._samples = samples
        self.dtype = samples.dtype

    def prepare(self, state: TrainingState) -> None:
        pass

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        rows = state.world.rows(state.draws.integers(len(self._samples), state.config.batch_size))
        return torch.index_select(self._samples, 0, rows, out=into)

    def look(self, count: int, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(self._samples), (count,), generator=rng, device=self._samples.device)
        return self._samples.index_select(0, rows)


class Streamed:
    """Samples of a map-style dataset that does not fit on the device, read ahead by worker processes.

    Which rows a turn gets depends on the seed and the turn's number alone, so a resumed run needs no
    sampler's state, and reading ahead changes nothing.

    Args:
        dataset: map-style; its items are samples, or tuples that begin with one.
        state: of the run that it feeds, at the step where it begins.
        workers: processes that read; 0 reads between steps.

    Raises:
        DataError: as soon as a sample that a step wants cannot be read.
    """

    def __init__(self, dataset: MapStyle, state: TrainingState, workers: int) -> None:
        loader: DataLoader[Any] = DataLoader(
            _Guarded(dataset),  # type: ignore[arg-type]
            batch_sampler=_Draws(dataset, state),
            collate_fn=_as_is,
            num_workers=workers,
            pin_memory=state.device.type == "cuda",
            generator=torch.Generator(),  # or it would draw from the global stream, and dropout with it
        )
        self._batches = iter(loader)
        self._turns = [self._read().to(state.device) for _ in range(state.config.discriminator_steps)]
        self.dtype = self._turns[0].dtype
        self._step = state.step

    def prepare(self, state: TrainingState) -> None:
        if state.step != self._step:
            for turn in self._turns:  # in place: a captured step reads from the same address each time
                turn.copy_(self._read(), non_blocking=True)
            self._step = state.step

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        return self._turns[turn] if into is None else into.copy_(self._turns[turn])

    def look(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.cat(self._turns)  # reading others from the disk would take time

    def _read(self) -> Tensor:
        read: Tensor | str = next(self._batches)
        if isinstance(read, str):
            raise DataError(read)
        return read


class _Draws(Sampler[list[int]]):
    """This process's rows of each batch, drawn with replacement, from the state's step on."""

    def __init__(self, dataset: MapStyle, state: TrainingState) -> None:
        self._count = len(dataset)
        self._config, self._world = state.config, state.world
        self._first = state.step * state.config.discriminator_steps

    def __iter__(self) -> Iterator[list[int]]:
        for number in itertools.count(self._first):
            # a stream for each batch: any of them can be drawn without those before it
            rng = np.random.default_rng([self._config.seed, number])
            rows = rng.integers(self._count, size=self._config.batch_size)
            yield self._world.rows(torch.from_numpy(rows)).tolist()


class _Guarded:
    """Reads batches; an error comes back as its message, not wrapped in a worker's traceback."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitems__(self, rows: list[int]) -> Tensor | str:
        try:
            if hasattr(self._dataset, "__getitems__"):
                items = self._dataset.__getitems__(rows)
            else:
                items = [self._dataset[row] for row in rows]
            return items if isinstance(items, Tensor) else torch.stack([sample_of(item) for item in items])
        except Exception as error:
            return str(error) or type(error).__name__


def _as_is(batch: Any) -> Any:
    return batch


def sample_of(item: Any) -> Tensor:
    """The sample of a dataset's item: a tensor, or the first of a tuple or list (a label follows)."""
    sample = item[0] if isinstance(item, (tuple, list)) else item
    if not isinstance(sample, Tensor) or not sample.is_floating_point():
        found = sample.dtype if isinstance(sample, Tensor) else type(sample).__name__
        raise DataError(
            f"data has items of {found}, expected tensors of floats, or tuples that begin with one"
        )
    return sample
