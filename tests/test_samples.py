"""What a training step does to batches between the networks, on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from backends import Backend
from conftest import running_on
from oracle import assert_as_exact
from tables import threaded
from torch import Tensor

from fastgan import penalties
from fastgan.kernels import choose

SHAPES = [(1, 1), (7, 3), (64, 5, 7), (33, 1_050)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def batch(shape: tuple[int, ...], device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Real samples, generated ones or noise, and a share for each row."""
    real, other = (torch.randn(shape, device=device) for _ in range(2))
    return real, other, torch.rand(len(real), *[1] * (real.dim() - 1), device=device)


@shapes
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.float64], ids=str)
def test_gathered_rows(variant: Backend, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    data = (128 * torch.randn(shape, device=variant.device)).clamp(0, 255).to(dtype)
    rows = torch.randint(len(data), (50,), device=variant.device)
    wanted = torch.float32 if dtype is torch.uint8 else dtype
    expected = data[rows].to(wanted)
    if dtype is torch.uint8:
        expected = expected / 127.5 - 1  # to the bit
    assert torch.equal(choose(data).gather(data, rows, wanted, None), expected)
    room = torch.zeros(52, *shape[1:], dtype=wanted, device=variant.device)
    found = choose(data).gather(data, rows, wanted, room[1:-1])
    assert torch.equal(room[1:-1], expected)
    assert found.data_ptr() == room[1:-1].data_ptr()
    assert not room[::51].any()


def test_rows_of_a_view(backend: Backend) -> None:
    data = torch.randn(6, 40, device=backend.device).t()
    rows = torch.tensor([39, 0, 7], device=backend.device)
    assert torch.equal(choose(data).gather(data, rows, torch.float32, None), data[rows])


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_that_is_not_there(row: int) -> None:
    data = torch.zeros(5, 2)
    with pytest.raises(IndexError, match=f"rows has {row}, expected indices of 5 samples"):
        choose(data).gather(data, torch.tensor([0, row]), torch.float32, None)


@shapes
def test_noise_is_rounded_twice(variant: Backend, shape: tuple[int, ...]) -> None:
    samples, noise, _ = batch(shape, variant.device)
    std = torch.tensor(0.3, device=variant.device)
    assert torch.equal(choose(samples).add_noise(samples, noise, std), samples + std * noise)


@shapes
def test_points_between(variant: Backend, shape: tuple[int, ...]) -> None:
    real, fake, share = batch(shape, variant.device)
    share[:: max(len(share) - 1, 1)] = 1
    found = choose(real).between(real, fake, share)
    exact = torch.lerp(fake.double(), real.double(), share.double())
    assert_as_exact(found, torch.lerp(fake, real, share), exact)
    assert torch.equal(found[-1], real[-1])
    assert torch.equal(choose(real).between(real, fake, torch.zeros_like(share)), fake)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_points_around(variant: Backend, shape: tuple[int, ...]) -> None:
    real, noise, share = batch(shape, variant.device)
    real += 3
    found = choose(real).around(real, share, noise)
    exact = penalties.around(real.double(), share.double(), noise.double())
    assert_as_exact(found, penalties.around(real, share, noise), exact)


def lipschitz(slope: Tensor) -> Tensor:
    leaf = slope.clone().requires_grad_()
    (grad,) = torch.autograd.grad(5 * (leaf.flatten(1).norm(dim=1) - 1).square().mean(), leaf)
    return grad


@shapes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_gradient_of_a_lipschitz_penalty(
    variant: Backend, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    slope = torch.randn(shape, device=variant.device).to(dtype)
    slope[0] = 0
    found = choose(slope).lipschitz_grad(slope, 5.0)
    assert_as_exact(found, lipschitz(slope), lipschitz(slope.double()))
    assert not found[0].any()


def test_a_slope_of_nan_is_not_lost(backend: Backend) -> None:
    slope = torch.ones(3, 4, device=backend.device)
    slope[1, 2] = math.nan
    found = choose(slope).lipschitz_grad(slope, 5.0)
    assert found[1].isnan().all()
    assert found[::2].isfinite().all()


FUNCTIONS: list[Callable[[Tensor, Tensor, Tensor], Tensor]] = [
    lambda real, other, share: choose(real).between(real, other, share),
    lambda real, other, share: choose(real).add_noise(real, other, share[0]),
    lambda real, other, share: choose(real).lipschitz_grad(real, float(len(real))),
]


@threaded
def test_neither_threads_nor_neighbours_change_a_bit(threaded: Backend) -> None:
    with running_on(threaded):
        given = batch((61, 1_050))
        noisy = choose(given[0]).around(*given[::2], given[1])
        for function in FUNCTIONS:
            whole = function(*given)
            torch.set_num_threads(3)
            assert torch.equal(function(*given), whole)
            assert torch.equal(choose(given[0]).around(*given[::2], given[1]), noisy)
            torch.set_num_threads(1)
            # at another address, with other rows before
            same = given[2] if function is not FUNCTIONS[1] else given[2][0].expand_as(given[2])
            rows = [given[0][7:11], given[1][7:11], same[7:11]]
            assert torch.equal(function(*rows), whole[7:11])
            columns = [given[0][:, 3:1_000], given[1][:, 3:1_000], given[2]]
            if function is not FUNCTIONS[2]:
                assert torch.equal(function(*columns), whole[:, 3:1_000])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b, c: choose(a).between(a, b[:3], c), "fake has shape .3, 5., expected 20 elements"),
        (lambda a, b, c: choose(a).between(a, b, c[:3]), "share has shape .3, 1., expected 4 elements"),
        (lambda a, b, c: choose(a).around(a, c, b[:3]), "noise has shape .3, 5., expected 20 elements"),
        (lambda a, b, c: choose(a).around(a, b, b), "share has shape .4, 5., expected 4 elements"),
        (lambda a, b, c: choose(a).add_noise(a, b[:3], c[0]), "noise has shape .3, 5., expected 20 elements"),
        (lambda a, b, c: choose(a).add_noise(a, b, c), "std has shape .4, 1., expected 1 elements"),
        (
            lambda a, b, c: choose(a).gather(a, torch.tensor([1]), torch.float32, b),
            "into has shape .4, 5., expected 5 elements",
        ),
    ],
)
def test_sizes_that_do_not_fit(call: Callable[..., Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(*batch((4, 5)))
