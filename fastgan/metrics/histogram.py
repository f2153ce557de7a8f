"""Reverse Kullback-Leibler and Jensen-Shannon divergence between histograms over modes, in nats.

The convention of VEEGAN (Srivastava et al., 2017) and PacGAN (Lin et al., 2018): each sample counts for its
nearest mode, samples that are not of high quality are ignored as in PacGAN's code, and the shares are
compared with those of the data. Reverse means KL(p_g || p_data), which is finite if modes are missing: log K
for one of K equally likely modes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def reverse_kl(counts: Sequence[int] | Tensor, reference: Sequence[float] | Tensor | None = None) -> float:
    """KL(p_g || p_data) over modes.

    Args:
        counts: generated samples of each of K modes, such as :attr:`fastgan.metrics.ModeCoverage.counts`.
        reference: frequency of each mode in the data, in any unit; None if they are equal.

    Returns:
        0 to infinity; infinity if samples fall on a mode that the data do not have; nan if there is no
        sample. For N samples of the data themselves it is (K - 1) / 2N on average.

    Raises:
        ValueError: if the lengths differ, there is no mode, a number is negative or not finite, or all of the
            reference is 0.
    """
    generated, data = _shares(counts, reference)
    return _kl(generated, data)


def jensen_shannon(
    counts: Sequence[int] | Tensor, reference: Sequence[float] | Tensor | None = None
) -> float:
    """JSD(p_g, p_data) over modes: 0 to log 2. Arguments and errors are those of :func:`reverse_kl`."""
    generated, data = _shares(counts, reference)
    middle = (generated + data) / 2
    return (_kl(generated, middle) + _kl(data, middle)) / 2


def _shares(
    counts: Sequence[int] | Tensor, reference: Sequence[float] | Tensor | None
) -> tuple[Tensor, Tensor]:
    generated = torch.as_tensor(counts, dtype=torch.float64)
    if reference is None:
        reference = torch.ones_like(generated)
    data = torch.as_tensor(reference, dtype=torch.float64, device=generated.device)
    if generated.ndim != 1 or len(generated) == 0 or generated.shape != data.shape:
        raise ValueError(
            f"counts have shape {list(generated.shape)} and reference {list(data.shape)}, expected [K] each "
            "with K at least 1"
        )
    for name, values in (("counts", generated), ("reference", data)):
        wrong = ~(values.isfinite() & (values >= 0))
        if wrong.any():
            first = int(wrong.nonzero()[0])
            raise ValueError(f"{name}[{first}] is {values[first]:g}, expected finite and at least 0")
    if data.sum() == 0:
        raise ValueError("reference is 0 everywhere, expected a mode that the data visit")
    return generated / generated.sum(), data / data.sum()


def _kl(of: Tensor, to: Tensor) -> float:
    return float((torch.xlogy(of, of) - torch.xlogy(of, to)).sum())
