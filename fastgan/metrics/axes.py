"""Differences of the marginal distributions of two sets of points, axis by axis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.metrics.arguments import check_samples

_QUANTILES = 1_000


@dataclass(frozen=True)
class AxisDifference:
    """Differences on one axis, in standard deviations of the real points.

    Attributes:
        mean_error: mean of the generated points minus that of the real ones.
        deviation_ratio: standard deviation of the generated points divided by that of the real ones.
        wasserstein: Wasserstein-1 distance of the two distributions, from a thousand quantiles.
    """

    mean_error: float
    deviation_ratio: float
    wasserstein: float


@torch.no_grad()
def axis_differences(real: Tensor, fake: Tensor) -> list[AxisDifference | None]:
    """Compare each axis by itself.

    Args:
        real: ``[N, D]``.
        fake: ``[M, D]``.

    Returns:
        One for each axis; None if all real points have the same value, so that there is no unit.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, or there are fewer than two samples.
    """
    check_samples("real", real, 2)
    check_samples("fake", fake, 2, like=real)
    levels = (torch.arange(_QUANTILES, dtype=torch.float64, device=real.device) + 0.5) / _QUANTILES
    return [_difference(*pair, levels) for pair in zip(real.double().T, fake.double().T, strict=True)]


def _difference(real: Tensor, fake: Tensor, levels: Tensor) -> AxisDifference | None:
    deviation = real.std()
    if real.min() == real.max():
        return None
    apart = (_quantiles(real, levels) - _quantiles(fake, levels)).abs().mean()
    return AxisDifference(
        mean_error=float((fake.mean() - real.mean()) / deviation),
        deviation_ratio=float(fake.std() / deviation),
        wasserstein=float(apart / deviation),
    )


def _quantiles(values: Tensor, levels: Tensor) -> Tensor:
    # torch.quantile refuses more than 16 million values
    return values.sort().values[(levels * len(values)).long()]
