"""The losses on logits in Triton, one function each; csrc/logit_losses.h is the C++ version.

Each function takes logits t and a label (1: D should call the sample real, 0: fake). It returns the term, its
slope, D's output, and a saturation flag: 1.0 if D no longer learns from the sample. The compiler removes
unused results.
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
    """softplus(-t) for label 1, softplus(t) for label 0. Saturated at both ends of the sigmoid.

    e is exp(-|t|). The term lacks log1p(e): kernels take one logarithm for many logits.
    """
    side = 1.0 - 2.0 * label
    wrong = side * t  # positive if t contradicts the label
    larger = reciprocal(1.0 + e)  # the larger one of sigmoid(t) and sigmoid(-t)
    smaller = e * larger
    slope = side * tl.where(wrong > 0, larger, smaller)
    return tl.maximum(wrong, 0.0), slope, tl.where(t > 0, larger, smaller), _is_saturated(t)


@triton.jit
def smoothed_bce(t, e, label):
    """label softplus(-t) + (1 - label) softplus(t) for any label in [0, 1]. A little slower than bce."""
    positive = t > 0
    weight = tl.where(positive, 1.0 - label, label)
    term = tl.where(weight == 0.0, 0.0, weight * tl.abs(t))  # 0 * inf would be nan
    larger = reciprocal(1.0 + e)
    # (1 - label) sigmoid(t) - label sigmoid(-t), without cancellation for large |t|
    slope = (tl.where(positive, 1.0 - label, -label) + tl.where(positive, -label, 1.0 - label) * e) * larger
    return term, slope, tl.where(positive, larger, e * larger), _is_saturated(t)


@triton.jit
def _is_saturated(t):
    return tl.where(tl.abs(t) > _SATURATED, 1.0, 0.0)


@triton.jit
def hinge(t, e, label):
    """max(0, 1 - t) for label 1, max(0, 1 + t) for label 0. Saturated beyond the margin."""
    side = 1.0 - 2.0 * label
    left = 1.0 + side * t
    beyond = left <= 0.0
    return tl.where(beyond, 0.0, left), tl.where(beyond, 0.0, side), t, tl.where(beyond, 1.0, 0.0)


@triton.jit
def least_squares(t, e, label):
    """(t - label)^2 / 2 for any label. Never saturated."""
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
    """Return the kernel constants LOSS, a function, and LOGARITHM: its terms lack log1p(e)."""
    if loss == "bce" and not {0.0, 1.0}.issuperset(labels):
        return smoothed_bce, True
    return _FUNCTIONS[loss], loss == "bce"


def launches_of(spec: LossSpec) -> Iterator[tuple[slice, LossSpec]]:
    """Yield the tensors of each launch, with their part of the spec. Most calls need one launch."""
    for at in range(0, len(spec.labels), MOST_TENSORS):
        part = slice(at, at + MOST_TENSORS)
        yield part, spec._replace(labels=spec.labels[part], weights=spec.weights[part])
