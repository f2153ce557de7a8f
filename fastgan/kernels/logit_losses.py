"""The losses on logits, one row each: what every backend computes, and what the second derivatives come from.

A loss is a term of each logit t, under a label: 1 where D shall take the sample for real, 0 where not. D
minimizes the terms of real samples under 1 and of generated ones under 0; G those of its samples under 1, of
the loss that :attr:`LogitLoss.generator` names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastgan.kernels.native import Codes

SATURATED_LOGIT = 6.906754778648554  # log(999): sigmoid within 0.1 % of 0 or 1
Labelled = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class LogitLoss:
    """One row. The functions take logits of float32 or float64.

    Attributes:
        term: of each logit under a label.
        slope: its derivative by the logit, differentiable once more.
        output: what D says of each sample, whose mean is logged.
        saturated: where D learns nothing more from a sample.
        generator: the loss whose terms under label 1 the generator minimizes.
        labels: any label from 0 to 1 has a meaning, not the ends alone.
        probability: ``output`` is a probability.
        saturating: the generator may also minimize minus the term under label 0, the saturating loss.
        lipschitz: D must be Lipschitz, which the loss itself does not ensure.
    """

    term: Labelled
    slope: Labelled
    output: Callable[[Tensor], Tensor]
    saturated: Labelled
    generator: str
    labels: bool = False
    probability: bool = False
    saturating: bool = False
    lipschitz: bool = False


def softplus(t: Tensor) -> Tensor:
    """``log(1 + exp(t))`` of any logit, with every derivative; half types are rounded once.

    From 20 on F.softplus is the identity, which float64 notices. The second derivative of torch.logaddexp is
    nan below -89, and its first at infinity: in one pass it gives the value alone.
    """
    if not torch.is_grad_enabled() and forward_ad._current_level < 0:
        return torch.logaddexp(t, t.new_zeros(()))
    wide = t.to(torch.promote_types(t.dtype, torch.float32))
    minus_size = torch.where(wide > 0, -wide, wide)  # -|t|, whose slope at 0 is 1, not 0
    return (torch.relu(wide) + minus_size.exp().log1p()).to(t.dtype)


def _bce(t: Tensor, label: float) -> Tensor:
    # A weight of zero leaves its softplus out: 0 * inf would be nan.
    terms = softplus(t) * (1 - label) if label != 1 else torch.zeros_like(t)
    return terms + softplus(-t) * label if label != 0 else terms


def _side(label: float) -> float:
    """-1 for label 1, 1 for label 0: the way in which a logit is wrong."""
    return 1 - 2 * label


def _beyond_margin(t: Tensor, label: float) -> Tensor:
    return 1 + _side(label) * t <= 0


# The order is that of Loss in csrc/logit_losses.h.
LOSSES: dict[str, LogitLoss] = {
    # Goodfellow et al., 2014, equation 1, in logits; the generator's is the non-saturating one of section 3.
    "bce": LogitLoss(
        term=_bce,
        # sigmoid(t) - label, written so that neither end cancels
        slope=lambda t, label: (1 - label) * torch.sigmoid(t) - label * torch.sigmoid(-t),
        output=torch.sigmoid,
        saturated=lambda t, label: t.abs() > SATURATED_LOGIT,
        generator="bce",
        labels=True,
        probability=True,
        saturating=True,
    ),
    # max(0, 1 -+ t): Lim and Ye, 2017, section 3.2; Miyato et al., 2018, equations 16 and 17.
    "hinge": LogitLoss(
        term=lambda t, label: torch.relu(1 + _side(label) * t),
        slope=lambda t, label: torch.where(_beyond_margin(t, label), 0.0, _side(label)).to(t.dtype),
        output=lambda t: t,
        saturated=_beyond_margin,
        generator="wasserstein",
    ),
    # (t - label)^2 / 2: Mao et al., 2017, equation 9.
    "least-squares": LogitLoss(
        term=lambda t, label: (t - label).square() / 2,
        slope=lambda t, label: t - label,
        output=lambda t: t,
        saturated=lambda t, label: torch.zeros_like(t, dtype=torch.bool),
        generator="least-squares",
        labels=True,
    ),
    # -+ t: Arjovsky et al., 2017, equations 2 and 3; something else must keep D Lipschitz.
    "wasserstein": LogitLoss(
        term=lambda t, label: _side(label) * t,
        slope=lambda t, label: torch.full_like(t, _side(label)),
        output=lambda t: t,
        saturated=lambda t, label: torch.zeros_like(t, dtype=torch.bool),
        generator="wasserstein",
        lipschitz=True,
    ),
}
NUMBERS = Codes("loss", {name: number for number, name in enumerate(LOSSES)})


class LossSpec(NamedTuple):
    """Which loss of which tensors: one label and one weight for each tensor of logits.

    Attributes:
        loss: a name of :data:`LOSSES`.
        labels: 1 where D should take the samples for real, 0 where not.
        weights: what the mean or the sum of each tensor's terms is multiplied by.
        mean: the mean of each tensor's terms, not their sum.
    """

    loss: str
    labels: tuple[float, ...]
    weights: tuple[float, ...]
    mean: bool

    def weights_of(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """What each term is multiplied by. The mean of nothing is nan, as in PyTorch."""
        if not self.mean:
            return self.weights
        each = list(self.weights)
        for i, size in enumerate(sizes):
            each[i] = each[i] / size if size else math.nan
        return tuple(each)
