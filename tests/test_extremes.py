"""Logits at the ends of the range: no clamp, no inf and no nan of our own making."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from backends import Backend
from oracle import DTYPES, OTHER_LOSSES, by_reference, eager_discriminator_loss
from tables import cases
from torch import Tensor, func

import fastgan
from fastgan.kernels.logit_losses import softplus
from fastgan.ops import (
    discriminator_loss_value_and_grad,
    generator_loss_value_and_grad,
)

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
INF, NAN = math.inf, math.nan


def losses_and_gradients(
    logit: float, dtype: torch.dtype, device: str, real_label: float = 1.0
) -> dict[str, tuple]:
    """For two equal logits: each term's value and gradient, through every form that has one."""
    found: dict[str, list[tuple[float, float]]] = {
        "real": [],
        "fake": [],
        "non-saturating": [],
        "saturating": [],
    }

    def tensor() -> Tensor:
        return torch.full((2,), logit, dtype=dtype, device=device, requires_grad=True)

    nothing = torch.full((2,), -INF, dtype=dtype, device=device)
    for reduction, share in (("mean", 2), ("none", 1)):
        for name in found:
            t = tensor()
            if name == "real":
                loss = fastgan.discriminator_loss(t, nothing, real_label=real_label, reduction=reduction)
            elif name == "fake":
                loss = fastgan.discriminator_loss(-nothing, t, reduction=reduction)
            else:
                loss = fastgan.generator_loss(t, saturating=name == "saturating", reduction=reduction)
            if isinstance(loss, tuple):
                loss = loss[name == "fake"]
            loss.sum().backward()
            found[name].append((loss.flatten()[0].item(), t.grad[0].item() * share))
    loss, on_real, _, _ = discriminator_loss_value_and_grad(tensor(), nothing, real_label=real_label)
    found["real"].append((loss.item(), on_real[0].item() * 2))
    loss, _, on_fake, _ = discriminator_loss_value_and_grad(-nothing, tensor())
    found["fake"].append((loss.item(), on_fake[0].item() * 2))
    for name in ("non-saturating", "saturating"):
        loss, grad, _ = generator_loss_value_and_grad(tensor(), saturating=name == "saturating")
        found[name].append((loss.item(), grad[0].item() * 2))
    for name, results in found.items():
        assert all(math.isnan(logit) or r == results[0] for r in results), (name, results)
    return {name: results[0] for name, results in found.items()}


@dtypes
def test_limits(variant: Backend, dtype: torch.dtype) -> None:
    for size in (torch.tensor(1e4, dtype=dtype).item(), INF):  # 9984 in bfloat16
        assert losses_and_gradients(-size, dtype, variant.device) == {
            "real": (size, -1),
            "fake": (0, 0),
            "non-saturating": (size, -1),
            "saturating": (0, 0),
        }
        assert losses_and_gradients(size, dtype, variant.device) == {
            "real": (0, 0),
            "fake": (size, 1),
            "non-saturating": (0, 0),
            "saturating": (-size, -1),
        }


def sigmoid(t: float) -> float:
    return math.exp(min(t, 0)) / (1 + math.exp(-abs(t)))


# Of the softplus in a plain-PyTorch formula: of a logit, and of minus it.
REFERENCES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "softplus": (softplus, 1),
    "discriminator, real": (
        lambda t: by_reference(fastgan.discriminator_loss)(
            t, torch.full_like(t, -INF), real_label=1.0, reduction="sum"
        ),
        -1,
    ),
    "discriminator, fake": (
        lambda t: by_reference(fastgan.discriminator_loss)(
            torch.full_like(t, INF), t, real_label=1.0, reduction="sum"
        ),
        1,
    ),
    "generator": (lambda t: by_reference(fastgan.generator_loss)(t, reduction="sum"), -1),
    "generator, saturating": (
        lambda t: -by_reference(fastgan.generator_loss)(t, saturating=True, reduction="sum"),
        1,
    ),
    "labelled": (lambda t: by_reference(fastgan.ops.labelled_loss)(t, 0.0, reduction="sum"), 1),
    "relativistic": (
        lambda t: by_reference(fastgan.relativistic_loss)(t, torch.zeros_like(t), reduction="sum"),
        -1,
    ),
}


@dtypes
@pytest.mark.parametrize(("reference", "sign"), REFERENCES.values(), ids=REFERENCES)
def test_derivatives_of_the_references(
    reference: Callable[[Tensor], Tensor], sign: int, dtype: torch.dtype
) -> None:
    """Value, first and second derivative to a few roundings: softplus, sigmoid and its slope."""
    for logit in (-INF, -1e4, -710, -100, -20, -1, 0, 1, 20, 100, 710, 1e4, INF):
        check_derivatives(reference, sign, dtype, logit)


def check_derivatives(
    reference: Callable[[Tensor], Tensor], sign: int, dtype: torch.dtype, logit: float
) -> None:
    logits = torch.full((1,), sign * logit, dtype=dtype, requires_grad=True)
    logit = sign * logits.item()
    value = reference(logits).sum()
    (first,) = torch.autograd.grad(value, logits, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), logits)
    exact = (
        max(logit, 0) + math.log1p(math.exp(-abs(logit))),
        sigmoid(logit),
        sigmoid(logit) * sigmoid(-logit),
    )
    found = value.item(), sign * first.item(), second.item()
    for mine, true in zip(found, exact, strict=True):
        true = torch.tensor(true, dtype=dtype).item()
        close = 8 * torch.finfo(dtype).eps
        assert mine == pytest.approx(true, rel=close, abs=torch.finfo(dtype).smallest_normal * close)


def test_references_under_transforms_without_gradients() -> None:
    """Forward mode needs no graph."""
    t = torch.tensor([-100.0, 100.0])
    with torch.no_grad():
        _, first = func.jvp(softplus, (t,), (torch.ones(2),))
        _, second = func.jvp(lambda t: func.jvp(softplus, (t,), (torch.ones(2),))[1], (t,), (torch.ones(2),))
    torch.testing.assert_close(first, torch.sigmoid(t))
    torch.testing.assert_close(second, torch.zeros(2))


@dtypes
def test_limits_of_other_losses(variant: Backend, dtype: torch.dtype) -> None:
    """Values, then gradients, at logits of both signs, for real samples and for generated ones."""
    for size in (100.0, INF):
        expected = {
            "hinge": ([size + 1, 0, 0, size + 1], [-1, 0, 0, 1]),
            "least-squares": ([(size + 1) ** 2 / 2, (size - 1) ** 2 / 2, size**2 / 2, size**2 / 2], None),
            "wasserstein": ([size, -size, -size, size], [-1, -1, 1, 1]),
        }
        t = torch.tensor([-size, size], dtype=dtype, device=variant.device)
        for loss, (values, slopes) in expected.items():
            leaves = [t.clone().requires_grad_(), t.clone().requires_grad_()]
            terms = torch.cat(fastgan.discriminator_loss(*leaves, loss=loss, reduction="none"))
            assert torch.equal(terms.cpu(), torch.tensor(values).to(dtype)), loss
            grads = torch.cat(torch.autograd.grad(terms.sum(), leaves))
            expected_grads = torch.tensor(slopes or [-size - 1, size - 1, -size, size])
            assert torch.equal(grads.cpu(), expected_grads.to(dtype)), loss


@pytest.mark.parametrize(("dtype", "size"), cases([1100], [3]))
def test_nan_in_other_losses(variant: Backend, dtype: torch.dtype, size: int) -> None:
    """Its term alone is nan; its slope is what PyTorch makes of it."""
    real = torch.zeros(size, dtype=dtype, device=variant.device)
    real[size // 2] = NAN
    for loss in OTHER_LOSSES:
        value, on_real, on_fake, _ = discriminator_loss_value_and_grad(real, real, loss=loss)
        assert value.isnan()
        for terms in fastgan.discriminator_loss(real, real, loss=loss, reduction="none"):
            assert torch.equal(terms.isnan(), real.isnan())
        leaves = [real.clone().requires_grad_(), real.clone().requires_grad_()]
        usual = torch.autograd.grad(eager_discriminator_loss(*leaves, loss=loss), leaves)
        torch.testing.assert_close((on_real, on_fake), usual, equal_nan=True)


@dtypes
def test_infinity_with_label_zero(variant: Backend, dtype: torch.dtype) -> None:
    for logit, expected in ((INF, (INF, 1)), (-INF, (0, 0))):
        assert losses_and_gradients(logit, dtype, variant.device, real_label=0.0)["real"] == expected


@dtypes
def test_nan_in_nan_out(variant: Backend, dtype: torch.dtype) -> None:
    for value, grad in losses_and_gradients(NAN, dtype, variant.device).values():
        assert math.isnan(value)
        assert math.isnan(grad)


@pytest.mark.parametrize("real_label", [0.0, 0.9, 1.0])
@pytest.mark.parametrize(("dtype", "size"), cases([1100], [3, 65]))
def test_one_nan_stays_one_gradient(
    variant: Backend, dtype: torch.dtype, size: int, real_label: float
) -> None:
    real = torch.zeros(size, dtype=dtype, device=variant.device)
    real[size // 2] = NAN
    fake = real.clone()
    loss, *grads, _ = discriminator_loss_value_and_grad(real, fake, real_label=real_label)
    terms = fastgan.discriminator_loss(real, fake, real_label=real_label, reduction="none")
    assert loss.isnan()
    for result in (*grads, *terms):
        assert torch.equal(result.isnan(), real.isnan())


@dtypes
def test_nan_through_leaky_relu(variant: Backend, dtype: torch.dtype) -> None:
    input = torch.tensor([[NAN, INF, -INF]], dtype=dtype, device=variant.device, requires_grad=True)
    output = fastgan.bias_leaky_relu(input, torch.zeros_like(input[0]))
    torch.testing.assert_close(output, torch.nn.functional.leaky_relu(input, 0.2), equal_nan=True)
    incoming = torch.full_like(input, NAN)
    assert torch.autograd.grad(output, input, incoming)[0].isnan().all()


def test_gradients_down_to_denormals(variant: Backend) -> None:
    """sigmoid(t) is exp(t) here, under the smallest normal number of float32 from -87.3 on."""
    fake = torch.arange(-103, -80, 0.37, device=variant.device, requires_grad=True)
    fastgan.generator_loss(fake, saturating=True, reduction="sum").backward()
    exact = -fake.detach().double().exp()
    if variant.name == "reference":
        pytest.skip("torch.sigmoid ends at -88")
    spacing = 2.0**-149
    assert ((fake.grad.double() - exact).abs() <= 4e-7 * exact.abs() + spacing).all()
    assert (fake.grad < 0).all()


@dtypes
def test_a_winning_discriminator_still_teaches(variant: Backend, dtype: torch.dtype) -> None:
    """The reason for the non-saturating loss: at -1e4 it gives -1/N, where the saturating one gives 0."""
    count = 8
    for reduction, (saturating, expected) in product(("mean", "none"), ((False, -1.0), (True, 0.0))):
        fake = torch.full((count,), -1e4, dtype=dtype, device=variant.device, requires_grad=True)
        loss = fastgan.generator_loss(fake, saturating=saturating, reduction=reduction)
        loss.mean().backward()
        assert loss.isfinite().all()
        assert (fake.grad == expected / count).all()


@dtypes
def test_at_zero(variant: Backend, dtype: torch.dtype) -> None:
    zero = torch.zeros(100, dtype=dtype, device=variant.device)
    eps = torch.finfo(dtype).eps
    assert fastgan.discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2), rel=eps)
    assert fastgan.generator_loss(zero).item() == pytest.approx(math.log(2), rel=eps)
    assert fastgan.generator_loss(zero, saturating=True).item() == pytest.approx(-math.log(2), rel=eps)


def test_a_sum_over_the_range_of_float16(variant: Backend) -> None:
    logits = torch.full((50,), 5e3, dtype=torch.float16, device=variant.device)
    ours = fastgan.discriminator_loss(logits, logits, reduction="sum")
    assert ours == eager_discriminator_loss(logits, logits, reduction="sum") == INF
