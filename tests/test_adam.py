"""Adam over one buffer, with the average and the bfloat16 copy, on every backend."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from backends import Backend
from conftest import running_on
from oracle import assert_as_exact
from tables import cases, threaded
from torch import Tensor, nn

from fastgan.kernels import choose
from fastgan.training.adam import Adam
from fastgan.training.flat import flat_parameters

RATE, BETAS, EPS, WEIGHT = 2**-7, (0.5, 0.999), 1e-8, 0.125
State = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def state(size: int, dtype: torch.dtype, device: str) -> State:
    """Values, gradients, both moments, and an average."""
    values, grads, first, average = (torch.randn(size, device=device) for _ in range(4))
    return tuple(t.to(dtype) for t in (values, grads, first, torch.rand(size, device=device), average))  # type: ignore[return-value]


def textbook(step: int, values: Tensor, grads: Tensor, m: Tensor, v: Tensor, average: Tensor) -> list[Tensor]:
    """Algorithm 1 of Kingma and Ba, 2015, and the average's step."""
    m = BETAS[0] * m + (1 - BETAS[0]) * grads
    v = BETAS[1] * v + (1 - BETAS[1]) * grads * grads
    unbiased = m / (1 - BETAS[0] ** step), v / (1 - BETAS[1] ** step)
    values = values - RATE * unbiased[0] / (unbiased[1].sqrt() + EPS)
    return [values, m, v, average + WEIGHT * (values - average)]


def move(given: State, count: float, halves: Tensor | None = None, *, is_first: bool = True) -> Tensor:
    values, grads, m, v, average = given
    device = values.device
    counter = torch.tensor(float(count), device=device)
    rate, weight = torch.tensor(RATE, device=device), torch.tensor(WEIGHT, device=device)
    choose(values).adam(
        values, grads, m, v, counter, is_first, rate, BETAS, EPS, 0.0, average, weight, halves
    )
    return counter


@pytest.mark.parametrize(("dtype", "size"), cases([1_001], [1, 63, 64, 5_000]))
@pytest.mark.parametrize("count", [0, 10_000])
def test_a_step(variant: Backend, dtype: torch.dtype, size: int, count: int) -> None:
    given = state(size, dtype, variant.device)
    values, grads, m, v, average = given
    exact = textbook(count + 1, *(t.double() for t in given))
    usual = textbook(count + 1, *given)
    kept = grads.clone()
    assert move(given, count) == count + 1
    assert torch.equal(grads, kept)
    for each in zip((values, m, v, average), usual, exact, strict=True):
        assert_as_exact(*each)


def test_early_steps_lose_no_digits(backend: Backend) -> None:
    """1 - 0.999 in float32, taken literally, is off by 5e-5, and the first step with it."""
    given = state(256, torch.float32, backend.device)
    given[2].zero_(), given[3].zero_()
    exact = textbook(1, *(t.double() for t in given))[0]
    before = given[0].double()
    move(given, 0)
    assert ((given[0].double() - exact).norm() / (exact - before).norm()) < 2e-5


def test_a_later_part_counts_no_step(backend: Backend) -> None:
    given = state(64, torch.float64, backend.device)
    exact = textbook(5, *given)
    assert move(given, 5, is_first=False) == 5
    torch.testing.assert_close(given[0], exact[0], rtol=1e-13, atol=0)


def test_parts_of_buffers_at_any_address(backend: Backend) -> None:
    whole = state(500, torch.float32, backend.device)
    exact = textbook(3, *(t.double() for t in whole))
    before = [t.clone() for t in whole]
    part = tuple(t[1:438] for t in whole)
    move(part, 2)  # type: ignore[arg-type]
    for ours, usual, expected in zip(
        (whole[0], whole[2], whole[3], whole[4]), (0, 2, 3, 4), exact, strict=True
    ):
        assert torch.equal(ours[0], before[usual][0])
        assert torch.equal(ours[438:], before[usual][438:])
        torch.testing.assert_close(ours[1:438].double(), expected[1:438], rtol=1e-5, atol=1e-6)


@threaded
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_split_changes_a_bit(threaded: Backend, dtype: torch.dtype) -> None:
    """Nor do threads: an element is computed alike in the vectors of a loop and at its end."""
    with running_on(threaded):
        given = state(40_000, dtype, "cpu")
        whole, parts, shared = ([t.clone() for t in given] for _ in range(3))
        move(tuple(whole), 2)  # type: ignore[arg-type]
        for first, last in pairwise([0, 1, 8, 23, 1_050, 39_967, 40_000]):
            move(tuple(t[first:last] for t in parts), 2)  # type: ignore[arg-type]
        torch.set_num_threads(3)
        move(tuple(shared), 2)  # type: ignore[arg-type]
        for expected, *found in zip(whole, parts, shared, strict=True):
            assert all(torch.equal(each, expected) for each in found)


def test_halves_are_the_new_values(backend: Backend) -> None:
    given = state(1_001, torch.float32, backend.device)
    halves = torch.full((1_001,), math.nan, dtype=torch.bfloat16, device=backend.device)
    move(given, 0, halves)
    if backend.name == "triton" and backend.is_interpreted:  # it truncates; compiled code has cvt.rn
        assert (halves.float() - given[0]).abs().max() <= 2**-7 * given[0].abs().max()
    else:
        assert torch.equal(halves, given[0].bfloat16())


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 1.0])
def test_an_average_is_exact_at_either_end(backend: Backend, weight: float) -> None:
    values, grads, m, v, average = state(300, torch.float32, backend.device)
    before = average.clone()
    scalars = (torch.tensor(x, device=backend.device) for x in (0.0, RATE, weight))
    count, rate, of_average = scalars
    choose(values).adam(values, grads, m, v, count, True, rate, BETAS, EPS, 0.0, average, of_average, None)
    torch.testing.assert_close(average, torch.lerp(before, values, weight), rtol=1e-6, atol=1e-7)
    if weight in (0.0, 1.0):
        assert torch.equal(average, values if weight else before)


def test_without_momentum(backend: Backend) -> None:
    values, grads, m, v, _ = state(64, torch.float64, backend.device)
    before, square = values.clone(), v.clone()
    count, rate = torch.tensor(0.0, device=backend.device), torch.tensor(RATE, device=backend.device)
    choose(values).adam(values, grads, m, v, count, True, rate, (0.0, 0.9), EPS, 0.0, None, rate, None)
    square = 0.9 * square + 0.1 * grads**2
    expected = before - RATE * grads / ((square / 0.1).sqrt() + EPS)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-13)


def test_a_run_is_that_of_pytorch(backend: Backend) -> None:
    """Over 50 steps, two shapes and two dtypes; a parameter without a gradient stays."""
    shapes = [((3, 5), torch.float64), ((7,), torch.float32), ((2, 2), torch.float64), ((4,), torch.float64)]
    ours = [nn.Parameter(torch.randn(s, dtype=d, device=backend.device)) for s, d in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    rate = torch.tensor(RATE, device=backend.device)
    adam = Adam(flat_parameters(ours), rate, BETAS, torch.tensor(0.0, device=backend.device))
    usual = torch.optim.Adam(theirs, RATE, BETAS, EPS)
    for step in range(50):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            q.grad = None if i == 2 and step % 3 else torch.randn_like(q)
            p.grad = None if q.grad is None else q.grad.clone()
        for flat in adam.flats:
            flat.gather()
        adam.step()
        usual.step()
        assert all(p.grad is None for p in ours)
    # PyTorch counts the steps of each parameter by itself; here all of a player's have one count
    for i in (0, 1, 3):
        tolerance = 1e-12 if ours[i].dtype is torch.float64 else 1e-5
        torch.testing.assert_close(ours[i], theirs[i], rtol=tolerance, atol=tolerance)
    assert adam.count == 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weight_decay(variant: Backend, dtype: torch.dtype) -> None:
    """As torch.optim.Adam: the decay is part of the gradient, and of both moments."""
    given = state(1_001, dtype, variant.device)
    values, grads, m, v, average = given
    kept = grads.clone()
    exact = textbook(
        4, values.double(), grads.double() + 0.25 * values.double(), m.double(), v.double(), average.double()
    )
    usual = textbook(4, values, grads + 0.25 * values, m, v, average)
    scalars = (torch.tensor(x, device=variant.device) for x in (3.0, RATE, WEIGHT))
    count, rate, weight = scalars
    choose(values).adam(values, grads, m, v, count, True, rate, BETAS, EPS, 0.25, average, weight, None)
    assert torch.equal(grads, kept)
    for each in zip((values, m, v, average), usual, exact, strict=True):
        assert_as_exact(*each)
