"""Weights divided by their spectral norms, against float64 and against PyTorch's modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from backends import GPU, Backend
from oracle import DTYPES, VIEWS, assert_as_exact, check, spectral_norm
from tables import cases
from torch import Tensor

import fastgan

EPS = 1e-12
Sizes = tuple[tuple[int, int], ...]
Tensors = tuple[Tensor, ...]
EVERY_DTYPE = [((5, 7), (1, 1), (64, 27)), ((1, 130), (70, 3))]
FLOAT32 = [((2, 16),), ((33, 129), (17, 1)), ((3, 5),) * 40, ((130, 257), (4, 1100), (300, 4), (140, 1024))]
LONG = [((64, 27), (128, 576), (512, 4608), (1, 8192))]

orders = pytest.mark.parametrize("columns_first", [False, True], ids=["rows first", "columns first"])


def sample(sizes: Sizes, like: Tensor) -> tuple[Tensors, Tensors, Tensors]:
    """Weights, and vectors u and v after an iteration: with random ones sigma may be almost 0."""
    weights = tuple(torch.randn(size).to(like) for size in sizes)
    double = [w.double() for w in weights]
    u, v = [w.new_ones(len(w)) for w in double], [w.new_ones(w.shape[1]) for w in double]
    _, us, vs = usual(double, u, v, 1, False)
    return weights, tuple(t.to(like) for t in us), tuple(t.to(like) for t in vs)


def usual(
    weights: Sequence[Tensor], u: Sequence[Tensor], v: Sequence[Tensor], iterations: int, columns_first: bool
) -> tuple[Tensors, Tensors, Tensors]:
    """As PyTorch's modules compute it: one weight at a time, in the weights' dtype."""
    scaled, us, vs = [], [], []
    for w, a, b in zip(weights, u, v, strict=True):
        with torch.no_grad():
            for step in range(2 * iterations):
                if (step % 2 == 0) == columns_first:
                    b = F.normalize(torch.mv(w.t(), a), dim=0, eps=EPS)
                else:
                    a = F.normalize(torch.mv(w, b), dim=0, eps=EPS)
        scaled.append(w / torch.dot(a, torch.mv(w, b)))
        us.append(a)
        vs.append(b)
    return tuple(scaled), tuple(us), tuple(vs)


def doubles(tensors: Tensors) -> Tensors:
    return tuple(t.double() for t in tensors)


@orders
@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize(("dtype", "sizes"), cases(EVERY_DTYPE, FLOAT32, LONG))
def test_value_and_gradient(
    variant: Backend, dtype: torch.dtype, sizes: Sizes, iterations: int, columns_first: bool
) -> None:
    weights, u, v = sample(sizes, torch.empty(0, dtype=dtype, device=variant.device))
    call = iterations, columns_first
    check(
        lambda *w: spectral_norm(w, u, v, EPS, *call)[0],
        lambda *w: usual(w, u, v, *call)[0],
        lambda *w: usual(w, doubles(u), doubles(v), *call)[0],
        weights,
    )
    ours = spectral_norm(weights, u, v, EPS, *call)
    theirs = usual(weights, u, v, *call)
    exact = usual(doubles(weights), doubles(u), doubles(v), *call)
    for vectors in zip(ours[1:], theirs[1:], exact[1:], strict=True):
        for each in zip(*vectors, strict=True):
            assert_as_exact(*each)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_strides(backend: Backend, view: Callable[[Tensor], Tensor]) -> None:
    (w, other), u, v = sample(((6, 10), (3, 4)), torch.empty(0, device=backend.device))
    plain = view(w).clone(memory_format=torch.contiguous_format)
    u, v = (u[0].new_ones(len(plain)), u[1]), (v[0].new_ones(plain.shape[1]), v[1])
    for iterations in (0, 1):
        ours = spectral_norm((view(w), other), u, v, EPS, iterations, False)
        same = spectral_norm((plain, other), u, v, EPS, iterations, False)
        for a, b in zip(sum(ours, ()), sum(same, ()), strict=True):
            torch.testing.assert_close(a, b)


def test_only_some_results_are_used(backend: Backend) -> None:
    weights, u, v = sample(((5, 7), (3, 4), (6, 2)), torch.empty(0, device=backend.device))
    trained = [w.requires_grad_(i != 1) for i, w in enumerate(weights)]
    scaled = spectral_norm(weights, u, v, EPS, 1, False)[0]
    (scaled[0].square().sum() + scaled[1].sum()).backward()
    alone = weights[0].detach().requires_grad_()
    spectral_norm((alone,), u[:1], v[:1], EPS, 1, False)[0][0].square().sum().backward()
    torch.testing.assert_close(trained[0].grad, alone.grad, rtol=0, atol=0)
    assert trained[1].grad is None
    assert trained[2].grad is None


@orders
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_and_infinities(backend: Backend, dtype: torch.dtype, columns_first: bool) -> None:
    """A sigma of 0 divides as in PyTorch, and other weights in the call are as without these."""
    weights, u, v = sample(((4, 6), (3, 5), (2, 2)), torch.empty(0, dtype=dtype, device=backend.device))
    weights[0].zero_()
    weights[1][0, 0] = torch.inf
    ours = spectral_norm(weights, u, v, EPS, 1, columns_first)
    exact = usual(doubles(weights), doubles(u), doubles(v), 1, columns_first)
    alone = spectral_norm(weights[2:], u[2:], v[2:], EPS, 1, columns_first)
    for mine, right, single in zip(ours, exact, alone, strict=True):
        torch.testing.assert_close(mine[0].double(), right[0], equal_nan=True)
        assert mine[1].isnan().equal(right[1].isnan())
        torch.testing.assert_close(mine[2], single[0], rtol=0, atol=0)


def test_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two for a power iteration of all weights, and one that divides them."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from launches import counted_launches

    weights, u, v = sample(((5, 7), (3, 4), (1, 9)), torch.empty(0, device=GPU))
    with fastgan.use_backend("triton"):
        spectral_norm(weights, u, v, EPS, 1, False)  # takes counters, once
        with counted_launches(monkeypatch) as found:
            spectral_norm(weights, u, v, EPS, 3, False)
    assert found == {"multiply_kernel": 6, "divide_kernel": 1}


def test_least_norm(backend: Backend) -> None:
    (w,), u, v = sample(((4, 6),), torch.empty(0, device=backend.device))
    (_, (a,), (b,)) = spectral_norm((w,), u, v, 100.0, 1, False)
    torch.testing.assert_close(a, w @ v[0] / 100)
    torch.testing.assert_close(b, w.t() @ a / 100)
