"""The table of losses on logits: what every backend computes, and the source of second derivatives.

A loss has one term per logit t, which depends on a label: 1 if D should call the sample real, 0 if fake. D
minimizes the terms of real samples with label 1 and of generated samples with label 0. G minimizes the terms
of generated samples with label 1, with the loss named by :attr:`LogitLoss.generator`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastgan.kernels.native import Codes

SATURATED_LOGIT = 6.906754778648554  # log(999), beyond which sigmoid is within 0.1 % of 0 or 1
Labelled = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class LogitLoss:
    """A loss. The functions take float32 or float64 logits.

    Attributes:
        term: the term of each logit for a label.
        slope: the derivative of the term with respect to the logit, differentiable once more.
        output: D's output for each sample; its mean is logged.
        saturated: True for samples that D no longer learns from.
        generator: the name of the loss whose terms with label 1 the generator minimizes.
        formulas: the terms of a real sample's logit r and a generated sample's logit f, for docstrings.
        source: the papers and their equations, for docstrings.
        labels: the range of labels that are allowed; None if only 0 and 1 are.
        base: the loss whose kernels compute this one, with another factor or generator loss; None: its own.
        factor: this loss over its base.
        probability: ``output`` is a probability.
        saturating: the generator may instead minimize minus the term with label 0, the saturating loss.
        lipschitz: D must be kept Lipschitz by other means; only differences of its logits have a meaning.
        undecided: the logit of a sample that D takes for neither.
    """

    term: Labelled
    slope: Labelled
    output: Callable[[Tensor], Tensor]
    saturated: Labelled
    generator: str
    formulas: tuple[str, str]
    source: str
    labels: tuple[float, float] | None = None
    base: str | None = None
    factor: float = 1.0
    probability: bool = False
    saturating: bool = False
    lipschitz: bool = False
    undecided: float = 0.0


def softplus(t: Tensor) -> Tensor:
    """``log(1 + exp(t))`` for any logit, with derivatives of every order; half types are rounded once.

    F.softplus returns t itself from 20 on, which is inexact in float64. torch.logaddexp has a nan second
    derivative below -89 and a nan first derivative at infinity, so it is used only for the value.
    """
    if not torch.is_grad_enabled() and forward_ad._current_level < 0:
        return torch.logaddexp(t, t.new_zeros(()))
    wide = t.to(torch.promote_types(t.dtype, torch.float32))
    minus_size = torch.where(wide > 0, -wide, wide)  # -|t| with slope 1 at 0
    return (torch.relu(wide) + minus_size.exp().log1p()).to(t.dtype)


def _bce(t: Tensor, label: float) -> Tensor:
    # Skip a softplus of weight zero: 0 * inf would be nan.
    terms = softplus(t) * (1 - label) if label != 1 else torch.zeros_like(t)
    return terms + softplus(-t) * label if label != 0 else terms


def _side(label: float) -> float:
    """-1 for label 1, 1 for label 0: the sign of a logit that contradicts the label."""
    return 1 - 2 * label


_ANY = (-math.inf, math.inf)


def _beyond_margin(t: Tensor, label: float) -> Tensor:
    return 1 + _side(label) * t <= 0


# Those with kernels are in the order of Loss in csrc/logit_losses.h.
LOSSES: dict[str, LogitLoss] = {
    # with the non-saturating generator loss of section 3
    "bce": LogitLoss(
        term=_bce,
        # sigmoid(t) - label, without cancellation for large |t|
        slope=lambda t, label: (1 - label) * torch.sigmoid(t) - label * torch.sigmoid(-t),
        output=torch.sigmoid,
        saturated=lambda t, label: t.abs() > SATURATED_LOGIT,
        generator="bce",
        formulas=("softplus(-r)", "softplus(f)"),
        source="Goodfellow et al. 2014, eq. 1",
        labels=(0.0, 1.0),
        probability=True,
        saturating=True,
    ),
    "hinge": LogitLoss(
        term=lambda t, label: torch.relu(1 + _side(label) * t),
        slope=lambda t, label: torch.where(_beyond_margin(t, label), 0.0, _side(label)).to(t.dtype),
        output=lambda t: t,
        saturated=_beyond_margin,
        generator="wasserstein",
        formulas=("max(0, 1 - r)", "max(0, 1 + f)"),
        source="Lim & Ye 2017, section 3.2; Miyato et al. 2018, eq. 16 and 17",
    ),
    "least-squares": LogitLoss(
        term=lambda t, label: (t - label).square() / 2,
        slope=lambda t, label: t - label,
        output=lambda t: t,
        saturated=lambda t, label: torch.zeros_like(t, dtype=torch.bool),
        generator="least-squares",
        formulas=("(r - 1)^2 / 2", "f^2 / 2"),
        source="Mao et al. 2017, eq. 9, with the half",
        labels=_ANY,
        undecided=0.5,
    ),
    "wasserstein": LogitLoss(
        term=lambda t, label: _side(label) * t,
        slope=lambda t, label: torch.full_like(t, _side(label)),
        output=lambda t: t,
        saturated=lambda t, label: torch.zeros_like(t, dtype=torch.bool),
        generator="wasserstein",
        formulas=("-r", "f"),
        source="Arjovsky et al. 2017, eq. 2 and 3; D must be kept Lipschitz",
        lipschitz=True,
    ),
    "mse": LogitLoss(
        term=lambda t, label: (t - label).square(),
        slope=lambda t, label: 2 * (t - label),
        output=lambda t: t,
        saturated=lambda t, label: torch.zeros_like(t, dtype=torch.bool),
        generator="mse",
        formulas=("(r - 1)^2", "f^2"),
        source="Kong et al. 2020, eq. 1 and 2: least squares without the half",
        labels=_ANY,
        base="least-squares",
        factor=2.0,
        undecided=0.5,
    ),
    "hinge-margin": LogitLoss(
        term=lambda t, label: torch.relu(1 + _side(label) * t),
        slope=lambda t, label: torch.where(_beyond_margin(t, label), 0.0, _side(label)).to(t.dtype),
        output=lambda t: t,
        saturated=_beyond_margin,
        generator="hinge-margin",
        formulas=("max(0, 1 - r)", "max(0, 1 + f)"),
        source="Zeghidour et al. 2021, arXiv:2107.03312, eq. 1 and 2: G has the margin too",
        base="hinge",
    ),
}
_WITH_KERNELS = [name for name, row in LOSSES.items() if row.base is None]
NUMBERS = Codes("loss", {name: number for number, name in enumerate(_WITH_KERNELS)})


class LossSpec(NamedTuple):
    """A loss over several tensors of logits, with one label and one weight per tensor.

    Attributes:
        loss: a name in :data:`NUMBERS`.
        labels: 1 for tensors that D should call real, 0 for fake.
        weights: factors of each tensor's mean or sum of terms.
        mean: take the mean of each tensor's terms instead of the sum.
    """

    loss: str
    labels: tuple[float, ...]
    weights: tuple[float, ...]
    mean: bool

    @classmethod
    def of(cls, loss: str, labels: tuple[float, ...], weights: tuple[float, ...], mean: bool) -> LossSpec:
        """The spec of any loss in :data:`LOSSES`, with the name of its kernels and its factor as a weight."""
        row = LOSSES[loss]
        if row.base is None:
            return cls(loss, labels, weights, mean)
        return cls(row.base, labels, tuple([row.factor * weight for weight in weights]), mean)

    def weights_of(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """The factor of each single term, for tensors of these sizes."""
        return weights_of_terms(self.weights, sizes) if self.mean else self.weights


cached_weights_of = lru_cache(LossSpec.weights_of)  # of a spec and a tuple of sizes


def weights_of_terms(weights: Sequence[float], sizes: Sequence[int]) -> tuple[float, ...]:
    """The factor of each term in weighted means. An empty mean is nan, as in PyTorch."""
    each = list(weights)
    for i, size in enumerate(sizes):
        each[i] = each[i] / size if size else math.nan
    return tuple(each)
