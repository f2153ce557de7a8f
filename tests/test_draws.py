"""Random numbers by counter: Philox's published vectors, and what a number depends on."""

from __future__ import annotations

import math

import pytest
import torch
from backends import Backend
from launches import counted_launches
from torch import Tensor

import fastgan
from fastgan.kernels import choose
from fastgan.kernels.reference import philox
from fastgan.training.draws import CounterDraws

Numbers = tuple[Tensor, Tensor, Tensor]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # "Parallel random numbers: as easy as 1, 2, 3" (Salmon et al., 2011), Random123's known answers
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    found = philox([torch.tensor([word]) for word in counter], key)
    assert [int(word) for word in found] == list(words)


def drawn(
    backend: Backend,
    sizes: tuple[int, int, int],
    begins: tuple[int, int, int] = (0, 0, 0),
    high: int = 1_000,
    seed: int = 3,
    step: int = 0,
) -> Numbers:
    device = backend.device
    clock = torch.tensor([step], device=device)
    numbers = (
        torch.full((sizes[0],), -1, device=device),
        torch.full((sizes[1],), math.nan, device=device),
        torch.full((sizes[2],), math.nan, device=device),
    )
    choose(clock).draw(*numbers, begins, high, seed, clock)
    return numbers


@pytest.mark.parametrize("sizes", [(1, 1, 1), (0, 6, 0), (5, 0, 9), (1_030, 4_099, 1_027)])
@pytest.mark.parametrize(
    ("begins", "seed", "step", "high"),
    [((0, 0, 0), 0, 0, 1), ((0, 0, 0), 7, 5, 20_000), ((8, 4, 2**34), 2**63 - 1, 2**40 + 1, 2**31)],
)
def test_every_backend_draws_the_same(
    backend: Backend,
    sizes: tuple[int, int, int],
    begins: tuple[int, int, int],
    seed: int,
    step: int,
    high: int,
) -> None:
    found = drawn(backend, sizes, begins, high, seed, step)
    with fastgan.use_backend("reference"):
        expected = drawn(backend, sizes, begins, high, seed, step)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[2], expected[2])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=2e-6)
    if sizes[0]:
        assert 0 <= int(found[0].min()) <= int(found[0].max()) < high
    if sizes[2]:
        assert 0 <= float(found[2].min()) <= float(found[2].max()) < 1


def test_a_number_does_not_depend_on_how_many_are_drawn(backend: Backend) -> None:
    whole = drawn(backend, (40, 40, 40))
    part = drawn(backend, (7, 5, 3), (8, 12, 16))
    for all_of_them, some, begin in zip(whole, part, (8, 12, 16), strict=True):
        assert torch.equal(all_of_them[begin : begin + len(some)], some)


def test_what_a_number_depends_on(backend: Backend) -> None:
    first = drawn(backend, (64, 64, 64))
    for other in (drawn(backend, (64, 64, 64), seed=4), drawn(backend, (64, 64, 64), step=1)):
        assert all((a != b).float().mean() > 0.9 for a, b in zip(first, other, strict=True))
    # kinds come from streams of their own
    word = (first[2] * 1_000).long()
    assert (word != first[0]).float().mean() > 0.9


def test_distributions() -> None:
    backend, count = Backend("reference"), 1 << 20
    with fastgan.use_backend("reference"):
        integers, normal, uniform = (t.double() for t in drawn(backend, (count, count, count), high=10))
    shares = torch.bincount(integers.long(), minlength=10) / count
    assert (shares - 0.1).abs().max() < 5 * math.sqrt(0.09 / count)
    for values, cdf in ((normal, torch.special.ndtr), (uniform, lambda x: x)):
        ordered = cdf(values.sort().values)
        distance = (ordered - torch.arange(count, dtype=torch.float64) / count).abs().max()
        assert distance < 2.23 / math.sqrt(count)  # Kolmogorov and Smirnov: by chance once in 10,000 times
    assert abs((normal[::2] * normal[1::2]).mean()) < 5 / math.sqrt(count / 2)
    assert 4.5 < normal.abs().max() < 6.8


def test_a_step_draws_at_once_what_the_one_before_drew_one_by_one(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = torch.zeros(1, dtype=torch.int64, device=backend.device)
    draws = CounterDraws(5, clock)

    def step(kind: bool = False) -> list[Tensor]:
        draws.begin_step(kind)
        found = [draws.integers(100, 6), draws.normal((3, 5)), draws.uniform((2,)), draws.normal((4,))]
        return [t.clone() for t in (*found, *([draws.uniform((7,))] if kind else []))]

    first, again = step(), step()
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[1].flatten()[:4], first[3])
    with_penalty = step(kind=True)
    assert all(map(torch.equal, first, with_penalty))
    clock += 1
    assert not any(map(torch.equal, first, step()))
    if backend.is_interpreted:
        with counted_launches(monkeypatch) as found:
            step(kind=True)
        assert found["draw"] + found["draw_kernel"] == 1


def test_more_numbers_than_the_step_before(backend: Backend) -> None:
    """What no one expected is drawn by itself, and is what it would have been."""
    clock = torch.zeros(1, dtype=torch.int64, device=backend.device)
    draws, others = CounterDraws(5, clock), CounterDraws(5, clock)
    draws.begin_step(False)
    draws.normal((4,)), draws.integers(9, 3)
    draws.begin_step(False)
    others.begin_step(False)
    for high in (9, 11):
        assert torch.equal(draws.integers(high, 6), others.integers(high, 6))
    assert torch.equal(draws.normal((9,)), others.normal((9,)))
