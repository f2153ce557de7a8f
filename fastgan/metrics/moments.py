"""Mean and covariance of features, in one pass that keeps no sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.metrics.arguments import check_samples


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set of features.

    Attributes:
        count: number of samples, at least 2.
        mean: float64 ``[D]``.
        covariance: float64 ``[D, D]``, unbiased.
    """

    count: int
    mean: Tensor
    covariance: Tensor


class RunningMoments:
    """Collects :class:`Moments` batch by batch.

    The covariance is a sum over deviations from the mean so far (Chan et al., 1979). The mean of squares
    minus the square of the mean would cancel if features are far from zero.

    Attributes:
        count: number of samples so far.

    Example:
        >>> running = RunningMoments()
        >>> for images in loader:
        ...     running.add(extractor(images))
        >>> real = running.moments()
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._scatter = torch.empty(0)

    @torch.no_grad()
    def add(self, features: Tensor) -> None:
        """Add a batch ``[N, D]``, with N at least 1 and the D of earlier batches.

        Raises:
            ValueError: if it has another shape, or a value is not finite.
        """
        check_samples("features", features, 1, like=self._mean.unsqueeze(0) if self.count else None)
        features = features.double()
        mean = features.mean(dim=0)
        centered = features - mean
        scatter = centered.T @ centered
        if self.count:
            total = self.count + len(features)
            apart = mean - self._mean
            mean = self._mean + apart * (len(features) / total)
            scatter += self._scatter
            scatter.addr_(apart, apart, alpha=self.count * len(features) / total)
        self.count += len(features)
        self._mean, self._scatter = mean, scatter

    def moments(self) -> Moments:
        """The moments of all batches so far.

        Raises:
            ValueError: if they have fewer than two samples.
        """
        if self.count < 2:
            raise ValueError(f"features of {self.count} samples have no covariance, expected at least 2")
        return Moments(self.count, self._mean, self._scatter / (self.count - 1))
