"""Turns the data given to a trainer into a source of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from fastgan.data import Dataset
from fastgan.data.dataset import check_labels
from fastgan.training.config import ConfigError
from fastgan.training.draws import MOST
from fastgan.training.source import MapStyle, Resident, Source, Streamed, is_numeric, tensor_of
from fastgan.training.state import TrainingState
from fastgan.training.table_source import TableSource

Array: TypeAlias = Tensor | NDArray[Any]
Data: TypeAlias = Array | tuple[Array, Array] | Dataset | MapStyle | DataLoader[Any] | TableSource

_UNIFORM = (RandomSampler, SequentialSampler, DistributedSampler)


def source_of(data: Data, state: TrainingState, workers: int) -> Source:
    """A resident source for data in memory, a streamed one for other data; a table's source itself.

    The arguments and errors are those of :meth:`fastgan.Trainer.fit`.
    """
    if isinstance(data, TableSource):
        _check_table(state)
        return data
    prepare: Callable[[int], None] | None = None
    _check_map_style(data.dataset if isinstance(data, DataLoader) else data)
    if isinstance(data, DataLoader):
        _check_loader(data, state.config.batch_size)
        workers, prepare = data.num_workers, data.worker_init_fn
        data = cast(MapStyle, data.dataset)
    augmentation = None
    labels: Array | None = None
    if isinstance(data, Dataset):
        augmentation, labels, data = data.augmentation, data.labels, data.samples
    elif type(data) is TensorDataset:  # a subclass may do more than index
        labels = data.tensors[1] if len(data.tensors) > 1 else None
        data = data.tensors[0]
    elif state.config.labels and isinstance(data, tuple) and len(data) == 2:
        data, labels = data
    if isinstance(data, np.ndarray):
        data = _tensor_of(data)
    if isinstance(data, Tensor):
        samples = _checked(data, state)
        classes = _checked_labels(labels, len(samples), state) if state.config.labels else None
        return Resident(samples, augmentation, state.dtype, classes)
    if isinstance(data, list | tuple | dict) or not all(hasattr(data, n) for n in ("__len__", "__getitem__")):
        raise TypeError(
            f"data is a {type(data).__name__}, expected a Tensor, an array, a Dataset, a map-style dataset "
            "or a DataLoader of one; with labels=True also a tuple (samples, labels)"
        )
    _check_count(len(data))
    if state.config.steps_per_replay > 1:
        raise ConfigError(
            f"steps_per_replay is {state.config.steps_per_replay}, expected 1 for data that is streamed"
        )
    return Streamed(data, state, workers, prepare)


def _check_table(state: TrainingState) -> None:
    config = state.config
    for name, expected in (("labels", False), ("augment", False), ("metrics_interval", 0)):
        if getattr(config, name) != expected:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected {expected} for a table")


def _check_map_style(data: object) -> None:
    if isinstance(data, IterableDataset):
        raise TypeError(
            f"data is a {type(data).__name__}, an IterableDataset, but a Trainer draws samples by their "
            "number; give it a map-style dataset, with __len__ and __getitem__"
        )


def _check_count(count: int) -> None:
    if count == 0:
        raise ValueError("data holds no sample, expected at least one")
    if count > MOST:
        raise ValueError(f"data holds {count} samples, expected at most {MOST}; train on a part of them")


def _check_loader(loader: DataLoader[Any], batch_size: int) -> None:
    """Refuse a DataLoader with settings that a trainer, which draws batches itself, would ignore."""
    if loader.batch_size != batch_size:
        raise ValueError(
            f"data is a DataLoader with batch_size {loader.batch_size}, but the config has {batch_size}; "
            "give both the same"
        )
    preferring = _preferring(loader)
    if preferring is not None:
        raise ValueError(
            f"data is a DataLoader with a {preferring}, but a Trainer draws all samples "
            "equally often; give it a dataset of those to draw, such as a torch.utils.data.Subset"
        )
    if loader.collate_fn is not default_collate:
        raise ValueError(
            "data is a DataLoader with a collate_fn, which a Trainer does not call; do its work in the "
            "dataset's __getitem__"
        )


def _preferring(loader: DataLoader[Any]) -> str | None:
    """Describes a sampler that draws some samples more often than others; None for other samplers."""
    sampler: Any = loader.sampler
    data = cast(MapStyle, loader.dataset)
    name = type(sampler).__name__
    if type(sampler) not in _UNIFORM:
        return name
    drawn = getattr(sampler, "dataset" if isinstance(sampler, DistributedSampler) else "data_source")
    if drawn is data or len(drawn) == len(data):
        return None
    return f"{name} of {len(drawn)} of {len(data)} samples"


def _tensor_of(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "fu":
        raise _is_neither(array.dtype)
    return tensor_of(array)


def _checked(samples: Tensor, state: TrainingState) -> Tensor:
    """Finite contiguous samples on the device in the dtype of the networks; uint8 stays uint8."""
    _check_count(len(samples) if samples.dim() else 0)
    if not is_numeric(samples):
        raise _is_neither(samples.dtype)
    if samples.dtype is torch.uint8:
        return samples.to(state.device).contiguous()
    samples = samples.to(state.device, state.dtype).contiguous()
    if not torch.isfinite(samples).all():
        raise ValueError(f"data holds nan or infinite values, expected finite ones of {state.dtype}")
    return samples


def _checked_labels(labels: Array | None, count: int, state: TrainingState) -> Tensor:
    """Labels as int64 ``[count]`` on the device."""
    if labels is None:
        raise ValueError(
            "labels is True, but data has no labels; give (samples, labels) or a TensorDataset of both, or "
            "train without labels"
        )
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool:
        raise TypeError(f"data has labels of {labels.dtype}, expected whole numbers such as torch.int64")
    labels = labels.to(state.device, torch.int64)
    check_labels(labels, count, "data")
    most, classes = int(labels.max()), state.num_classes
    if 0 < classes <= most:
        raise ValueError(f"data has labels up to {most}, but the networks have num_classes={classes}")
    return labels.contiguous()


def _is_neither(dtype: object) -> TypeError:
    return TypeError(f"data is {dtype}, expected floats, or pixels of uint8; convert it")
