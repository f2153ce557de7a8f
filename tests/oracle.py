"""Compares with float64 references. Tolerances depend on PyTorch's error in the same dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.ops.spectral_norm import spectral_norms, with_gradient

P = ParamSpec("P")
R = TypeVar("R")
Function = Callable[..., "Tensor | tuple[Tensor, ...]"]

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
REDUCTIONS = ("mean", "sum", "none")


def as_tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def evaluate(function: Function, inputs: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor]:
    """[*outputs, gradient of each input]."""
    leaves = [t.detach().requires_grad_() for t in inputs]
    outputs = as_tuple(function(*leaves))
    return [*outputs, *torch.autograd.grad(outputs, leaves, cotangents)]


def check(ours: Function, eager: Function, reference: Function, inputs: Sequence[Tensor]) -> None:
    """Assert that values and gradients of ``ours`` are as exact as those of ``eager`` in the inputs' dtype.

    ``reference`` computes the exact values in float64.
    """
    outputs = as_tuple(ours(*inputs))
    cotangents = [torch.rand_like(y, memory_format=torch.contiguous_format) + 0.5 for y in outputs]
    double = [t.double() for t in inputs]
    for mine, usual, exact in zip(
        evaluate(ours, inputs, cotangents),
        evaluate(eager, inputs, cotangents),
        evaluate(reference, double, [c.double() for c in cotangents]),
        strict=True,
    ):
        assert_as_exact(mine, usual, exact)


def assert_as_exact(ours: Tensor, pytorch: Tensor, exact: Tensor) -> None:
    """Assert that the error is at most 2 x PyTorch's + 4 eps (2-norm) and 4 x PyTorch's + 4 eps (largest).

    In float64 the limit is 1e-13. Elements must be inf if the exact value overflows, and nan if it is nan.
    """
    assert ours.dtype is pytorch.dtype
    assert ours.shape == pytorch.shape == exact.shape
    assert ours.device == pytorch.device
    rounded = exact.to(ours.dtype)
    finite = rounded.isfinite()
    if not finite.all():
        torch.testing.assert_close(ours[~finite], rounded[~finite], rtol=0, atol=0, equal_nan=True)
        ours, pytorch, exact = ours[finite], pytorch[finite], exact[finite]
    error = ours.double() - exact
    allowed = torch.finfo(ours.dtype).eps * 4
    theirs = torch.zeros_like(error)
    if ours.dtype is torch.float64:
        allowed = 1e-13
    else:
        theirs = (pytorch.double() - exact).nan_to_num()
    assert error.isfinite().all()
    assert error.norm() <= 2 * theirs.norm() + allowed * exact.norm(), (error.norm(), theirs.norm())
    if error.numel():
        largest = error.abs().max()
        assert largest <= 4 * theirs.abs().max() + allowed * exact.abs().max(), (largest, theirs.abs().max())


def by_reference(operation: Callable[P, R]) -> Callable[P, R]:
    """The operation on the reference backend: plain PyTorch, differentiated by PyTorch."""
    return fastgan.use_backend("reference")(operation)


def spectral_norm(
    weights: tuple[Tensor, ...],
    u: tuple[Tensor, ...],
    v: tuple[Tensor, ...],
    eps: float,
    iterations: int,
    columns_first: bool,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The weights divided by their spectral norms, with gradients, and the new u and v."""
    call = weights, [0] * len(weights), u, v, eps, iterations, columns_first
    found = list(zip(weights, spectral_norms(*call), strict=True))
    scaled = tuple(with_gradient(w, divided) for w, divided in found)
    return scaled, tuple(divided.u for _, divided in found), tuple(divided.v for _, divided in found)


def softplus(t: Tensor) -> Tensor:
    """``log(1 + exp(t))`` without approximation: F.softplus is the identity above 20."""
    return F.binary_cross_entropy_with_logits(-t, torch.ones_like(t), reduction="none")


def eager_discriminator_loss(
    real: Tensor, fake: Tensor, real_label: float = 1.0, reduction: str = "mean", loss: str = "bce"
) -> Tensor | tuple[Tensor, Tensor]:
    """The discriminator's loss as usually written in PyTorch."""
    if loss != "bce":
        on_real, on_fake = _TERMS[loss](real, fake)
        if reduction == "none":
            return on_real, on_fake
        return on_real.mean() + on_fake.mean() if reduction == "mean" else on_real.sum() + on_fake.sum()
    on_real = F.binary_cross_entropy_with_logits(real, torch.full_like(real, real_label), reduction=reduction)
    on_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake), reduction=reduction)
    return (on_real, on_fake) if reduction == "none" else on_real + on_fake


def eager_generator_loss(
    fake: Tensor, saturating: bool = False, reduction: str = "mean", loss: str = "bce"
) -> Tensor:
    """The generator's loss as usually written in PyTorch."""
    if loss != "bce":
        has_own = loss in ("least-squares", "mse", "hinge-margin")  # the terms of real samples
        terms = _TERMS[loss](fake, fake)[0] if has_own else -fake
        return {"mean": torch.mean, "sum": torch.sum, "none": lambda t: t}[reduction](terms)
    if saturating:
        return -F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake), reduction=reduction)
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake), reduction=reduction)


# The terms of real and of generated logits in each loss but cross-entropy.
_TERMS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "hinge": lambda real, fake: (F.relu(1.0 - real), F.relu(1.0 + fake)),
    "least-squares": lambda real, fake: (0.5 * (real - 1) ** 2, 0.5 * fake**2),
    "wasserstein": lambda real, fake: (-real, fake.clone()),
    "mse": lambda real, fake: ((real - 1) ** 2, fake**2),
    "hinge-margin": lambda real, fake: (F.relu(1.0 - real), F.relu(1.0 + fake)),
}
OTHER_LOSSES = tuple(_TERMS)


# Views with the values of a contiguous tensor (expanded: of its first row) and unusual strides or alignment.
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "every_other": lambda t: t.repeat_interleave(2, 0)[::2],
    "expanded": lambda t: t[:1].expand_as(t),
    "transposed": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "unaligned": lambda t: torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape),
}


def off_the_kink(
    rows: Sequence[int], features: Sequence[int], dtype: torch.dtype, device: str
) -> list[Tensor]:
    """[input, *weights, *biases] of a chain of linear layers in which no z is near zero.

    Near zero a rounding error would change the slope of leaky ReLU. Every unit and every row has a sign, so
    that the terms of a product do not cancel.
    """
    signs = [torch.randint(0, 2, (n,)) * 2.0 - 1 for n in features]
    row_signs = torch.randint(0, 2, tuple(rows)) * 2.0 - 1

    def magnitude(*shape: int) -> Tensor:
        return torch.rand(shape) + 0.5

    input = magnitude(*rows, features[0]) * row_signs[..., None] * signs[0]
    weights = [
        magnitude(m, k) / max(k, 1) * torch.outer(signs[i + 1], signs[i])
        for i, (k, m) in enumerate(pairwise(features))
    ]
    biases = [(torch.rand(m) - 0.5) * 0.02 for m in features[1:]]
    return [t.to(device, dtype) for t in (input, *weights, *biases)]
