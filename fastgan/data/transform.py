"""Conversion between the data's own units and those of training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Transform:
    """data = samples * scale + offset, with numbers for each axis of points or one for all values.

    Attributes:
        scale: data units per unit of samples: one number, or one for each axis. It is 0 for an axis with a
            single value: samples are 0 there, and :meth:`inverse` gives that value.
        offset: data value of a sample of 0; as many numbers as ``scale``.

    Raises:
        ValueError: if their lengths differ, a number is not finite, or a scale is below 0.
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not values or not all(map(_is_finite, values)):
                raise ValueError(f"{name} is {values!r}, expected finite numbers")
        if min(self.scale) < 0:
            raise ValueError(f"scale is {self.scale}, expected at least 0")
        if len(self.scale) != len(self.offset):
            raise ValueError(f"scale has {len(self.scale)} numbers and offset {len(self.offset)}")

    @classmethod
    def standardizing(cls, points: NDArray[Any]) -> Transform:
        """The transform that gives each axis of points ``[N, D]`` mean 0 and standard deviation 1."""
        points = points.astype(np.float64)
        offset, scale = points.mean(axis=0), points.std(axis=0)
        # the computed mean of equal numbers may differ from them by rounding
        constant = points.min(axis=0) == points.max(axis=0)
        offset[constant], scale[constant] = points[0, constant], 0
        return cls(tuple(scale.tolist()), tuple(offset.tolist()))

    @property
    def is_identity(self) -> bool:
        """Whether samples are in the data's own units."""
        return set(self.scale) == {1.0} and set(self.offset) == {0.0}

    def apply(self, data: Tensor) -> Tensor:
        """From data in their own units to samples ``[..., D]``, float32."""
        scale, offset = self._numbers(data.device)
        samples: Tensor = (data.double() - offset) / torch.where(scale > 0, scale, 1.0)
        return torch.where(scale > 0, samples, 0.0).float()

    def inverse(self, samples: Tensor) -> Tensor:
        """From samples ``[..., D]`` to data in their own units, float32."""
        if self.is_identity:
            return samples
        scale, offset = self._numbers(samples.device)
        return torch.addcmul(offset, samples.double(), scale).float()

    def inverse_layer(self) -> nn.Module:
        """:meth:`inverse` as a module in float32, to append to a generator."""
        return nn.Identity() if self.is_identity else _Inverse(self)

    def _numbers(self, device: torch.device) -> Tensor:
        return torch.tensor([self.scale, self.offset], dtype=torch.float64, device=device)


IDENTITY = Transform()
"""For samples in the data's own units."""


class _Inverse(nn.Module):
    scale: Tensor
    offset: Tensor

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(transform.scale, dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(transform.offset, dtype=torch.float32))

    def forward(self, samples: Tensor) -> Tensor:
        return samples * self.scale + self.offset
