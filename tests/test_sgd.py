"""Gradient descent with momentum over one buffer, with average and bfloat16 copy, on every backend."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from backends import Backend
from conftest import running_on
from oracle import assert_as_exact
from tables import cases, threaded
from torch import Tensor, nn

from fastgan.kernels import choose
from fastgan.training.flat import flat_parameters
from fastgan.training.sgd import SGD

RATE, MOMENTUM, WEIGHT = 2**-5, 0.8125, 0.125


def move(
    values: Tensor, grads: Tensor, velocity: Tensor, average: Tensor, halves: Tensor | None = None
) -> None:
    rate, momentum, weight = (torch.tensor(x, device=values.device) for x in (RATE, MOMENTUM, WEIGHT))
    choose(values).sgd(values, grads, velocity, rate, momentum, average, weight, halves)


@pytest.mark.parametrize(("dtype", "size"), cases([1_001], [1, 63, 64, 5_000]))
def test_a_step(variant: Backend, dtype: torch.dtype, size: int) -> None:
    given = [torch.randn(size, device=variant.device).to(dtype) for _ in range(4)]

    def textbook(values: Tensor, grads: Tensor, velocity: Tensor, average: Tensor) -> list[Tensor]:
        velocity = MOMENTUM * velocity - RATE * grads
        return [values + velocity, velocity, average + WEIGHT * (values + velocity - average)]

    exact, usual, kept = textbook(*(t.double() for t in given)), textbook(*given), given[1].clone()
    move(*given)
    assert torch.equal(given[1], kept)
    for each in zip((given[0], *given[2:]), usual, exact, strict=True):
        assert_as_exact(*each)


def test_halves_are_the_new_values(backend: Backend) -> None:
    given = [torch.randn(1_001, device=backend.device) for _ in range(4)]
    halves = torch.zeros(1_001, dtype=torch.bfloat16, device=backend.device)
    move(*given, halves)
    assert torch.equal(halves, given[0].bfloat16())


@threaded
def test_no_split_changes_a_bit(threaded: Backend) -> None:
    with running_on(threaded):
        given = [torch.randn(40_000) for _ in range(4)]
        whole, parts, shared = ([t.clone() for t in given] for _ in range(3))
        move(*whole)
        for first, last in pairwise([0, 1, 8, 23, 1_050, 39_967, 40_000]):
            move(*(t[first:last] for t in parts))
        torch.set_num_threads(3)
        move(*shared)
        for expected, *found in zip(whole, parts, shared, strict=True):
            assert all(torch.equal(each, expected) for each in found)


@pytest.mark.parametrize("name", ["grads", "velocity", "average"])
def test_a_buffer_of_another_size_is_named(name: str) -> None:
    sizes = {"values": 8, "grads": 8, "velocity": 8, "average": 8, name: 7}
    with pytest.raises(ValueError, match=rf"{name} has shape \[7\], expected 8 elements"):
        move(*(torch.zeros(size) for size in sizes.values()))


def test_without_a_gradient_only_the_average_moves(backend: Backend) -> None:
    weights = [nn.Parameter(torch.randn(5, device=backend.device)) for _ in range(2)]
    means = [torch.zeros(5, device=backend.device) for _ in range(2)]
    before = [p.detach().clone() for p in weights]
    rate, momentum, weight = (torch.tensor(x, device=backend.device) for x in (RATE, MOMENTUM, WEIGHT))
    optimizer = SGD(flat_parameters(weights, means), rate, momentum, weight)
    weights[0].grad = torch.ones_like(weights[0])
    optimizer.flats[0].gather()
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), before[0] - RATE)
    assert torch.equal(weights[1], before[1])
    for mean, p in zip(means, weights, strict=True):
        torch.testing.assert_close(mean, WEIGHT * p.detach())
