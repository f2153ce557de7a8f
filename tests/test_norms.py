"""Norms of gradients, and gradients clipped by their norm, on every backend."""

from __future__ import annotations

import math

import pytest
import torch
from backends import Backend
from conftest import running_on
from oracle import assert_as_exact
from tables import cases, threaded

from fastgan.kernels import choose


@pytest.mark.parametrize(("dtype", "size"), cases([1_001], [0, 1, 31, 32, 50_000]))
@pytest.mark.parametrize("order", [1, 2])
def test_a_norm(variant: Backend, dtype: torch.dtype, size: int, order: int) -> None:
    x = torch.randn(size, device=variant.device).to(dtype)
    found = choose(x).norm(x, order)
    wide = x.to(found.dtype)
    assert found.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    usual, exact = (torch.linalg.vector_norm(t, order) for t in (wide, wide.double()))
    assert_as_exact(found, usual, exact)


def test_a_norm_of_a_view(backend: Backend) -> None:
    x = torch.randn(40, 6, device=backend.device).t()[::2]
    torch.testing.assert_close(choose(x).norm(x, 2), x.norm())


def test_squares_below_the_least_float() -> None:
    x = torch.full((100,), 1e-30)
    assert float(choose(x).norm(x, 2)) == pytest.approx(1e-29)


def test_nan_is_not_lost(backend: Backend) -> None:
    x = torch.ones(100, device=backend.device)
    x[57] = math.nan
    assert all(choose(x).norm(x, order).isnan() for order in (1, 2))


def test_another_order_is_refused() -> None:
    x = torch.ones(3)
    with pytest.raises(ValueError, match="order must be 1 or 2, but is 3"):
        choose(x).norm(x, 3)


@threaded
def test_no_number_of_threads_changes_a_bit(threaded: Backend) -> None:
    with running_on(threaded):
        x = torch.randn(3 * 16_384 + 5)
        norms = [choose(x).norm(x, order) for order in (1, 2)]
        clipped = [x.clone(), x[:30_000].clone()]
        choose(x).clip(clipped, 1.0)
        torch.set_num_threads(3)
        assert all(torch.equal(norms[order - 1], choose(x).norm(x, order)) for order in (1, 2))
        again = [x.clone(), x[:30_000].clone()]
        choose(x).clip(again, 1.0)
        assert all(map(torch.equal, clipped, again))


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_is_that_of_pytorch(variant: Backend, max_norm: float) -> None:
    grads = [torch.randn(size, device=variant.device) for size in (20_000, 1, 64)]
    grads.append(torch.randn(7, device=variant.device, dtype=torch.float64))
    expected = [grad.to(torch.float64, copy=True) for grad in grads]
    factor = min(1.0, max_norm / (float(torch.cat(expected).norm()) + 1e-6))
    before = [grad.clone() for grad in grads]
    choose(grads[0]).clip(grads, max_norm)
    for grad, old, exact in zip(grads, before, expected, strict=True):
        torch.testing.assert_close(grad.double(), factor * exact, rtol=3e-7, atol=0)
        assert torch.equal(grad, old) == (factor == 1)

    parameters = [torch.nn.Parameter(torch.zeros_like(old)) for old in before]
    for p, old in zip(parameters, before, strict=True):
        p.grad = old
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    for p, grad in zip(parameters, grads, strict=True):
        torch.testing.assert_close(grad, p.grad, rtol=3e-7, atol=0)


def test_clipping_multiplies_by_one_float() -> None:
    """As PyTorch multiplies a tensor by a number, to the bit."""
    grads = torch.randn(1_003)
    before, norm = grads.clone(), choose(grads).norm(grads.double(), 2)
    choose(grads).clip([grads], 0.7)
    assert torch.equal(grads, 0.7 / (float(norm) + 1e-6) * before)


def test_gradients_in_half_types_are_refused() -> None:
    x = torch.ones(3, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"grads has a tensor of torch\.bfloat16, expected float32"):
        choose(x).clip([x], 1.0)
