"""csrc/logit_losses.h in Triton: the losses on logits, one function each.

A function says everything of logits t under a label, 1 where D should take the sample for real, 0 where not:
the term, its slope, what D says of the sample, and 1 where D learns nothing more from it. The compiler leaves
out what is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import triton
import triton.language as tl

from fastgan.kernels.logit_losses import SATURATED_LOGIT, LossSpec
from fastgan.kernels.triton.launch import MOST_TENSORS
from fastgan.kernels.triton.scalar_math import reciprocal

_SATURATED = tl.constexpr(SATURATED_LOGIT)


@triton.jit
def bce(t, e, label):
    """softplus(-t) for label 1, softplus(t) for label 0. Saturated: at either end of the sigmoid.

    e is exp(-|t|). The term lacks log1p(e): kernels take one logarithm for many logits.
    """
    side = 1.0 - 2.0 * label
    wrong = side * t  # how far on the wrong side
    larger = reciprocal(1.0 + e)  # of sigmoid(t) and sigmoid(-t)
    smaller = e * larger
    slope = side * tl.where(wrong > 0, larger, smaller)
    return tl.maximum(wrong, 0.0), slope, tl.where(t > 0, larger, smaller), _is_saturated(t)


@triton.jit
def smoothed_bce(t, e, label):
    """label softplus(-t) + (1 - label) softplus(t), any label in [0, 1]; else as bce, and a little slower."""
    positive = t > 0
    weight = tl.where(positive, 1.0 - label, label)
    term = tl.where(weight == 0.0, 0.0, weight * tl.abs(t))  # 0 * inf would be nan
    larger = reciprocal(1.0 + e)
    # (1 - label) sigmoid(t) - label sigmoid(-t), so that neither end cancels
    slope = (tl.where(positive, 1.0 - label, -label) + tl.where(positive, -label, 1.0 - label) * e) * larger
    return term, slope, tl.where(positive, larger, e * larger), _is_saturated(t)


@triton.jit
def _is_saturated(t):
    return tl.where(tl.abs(t) > _SATURATED, 1.0, 0.0)


@triton.jit
def hinge(t, e, label):
    """max(0, 1 - t) for label 1, max(0, 1 + t) for label 0. Saturated: beyond the margin."""
    side = 1.0 - 2.0 * label
    left = 1.0 + side * t
    beyond = left <= 0.0
    return tl.where(beyond, 0.0, left), tl.where(beyond, 0.0, side), t, tl.where(beyond, 1.0, 0.0)


@triton.jit
def least_squares(t, e, label):
    """(t - label)^2 / 2, any label. Never saturated."""
    off = t - label
    return 0.5 * off * off, off, t, tl.zeros_like(t)


@triton.jit
def wasserstein(t, e, label):
    """-t for label 1, t for label 0. Never saturated."""
    side = 1.0 - 2.0 * label
    return side * t, tl.zeros_like(t) + side, t, tl.zeros_like(t)


_FUNCTIONS: dict[str, Any] = {
    "bce": bce,
    "hinge": hinge,
    "least-squares": least_squares,
    "wasserstein": wasserstein,
}


def kind_of(loss: str, labels: Sequence[float]) -> tuple[Any, bool]:
    """The constants LOSS and LOGARITHM of a kernel: a function, and whether its terms lack log1p(e)."""
    if loss == "bce" and not {0.0, 1.0}.issuperset(labels):
        return smoothed_bce, True
    return _FUNCTIONS[loss], loss == "bce"


def launches_of(spec: LossSpec) -> Iterator[tuple[slice, LossSpec]]:
    """Which tensors each launch takes, and their part of the spec: one launch for most calls."""
    for at in range(0, len(spec.labels), MOST_TENSORS):
        part = slice(at, at + MOST_TENSORS)
        yield part, spec._replace(labels=spec.labels[part], weights=spec.weights[part])
