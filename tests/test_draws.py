"""Random numbers by counter: Philox's published vectors, and what a number depends on."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from backends import INSTRUCTION_SETS, Backend
from launches import counted_launches
from torch import Tensor

import fastgan
from fastgan.kernels import choose
from fastgan.kernels.reference import philox
from fastgan.training.distributed import World
from fastgan.training.draws import INTEGERS, MOST, NORMAL, UNIFORM, CounterDraws, draw

KINDS = INTEGERS, NORMAL, UNIFORM
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
    variant: Backend,
    sizes: tuple[int, int, int],
    begins: tuple[int, int, int],
    seed: int,
    step: int,
    high: int,
) -> None:
    found = drawn(variant, sizes, begins, high, seed, step)
    with fastgan.use_backend("reference"):
        expected = drawn(variant, sizes, begins, high, seed, step)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[2], expected[2])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=2e-6)
    if sizes[0]:
        assert 0 <= int(found[0].min()) <= int(found[0].max()) < high
    if sizes[2]:
        assert 0 <= float(found[2].min()) <= float(found[2].max()) < 1


def test_a_number_does_not_depend_on_how_many_are_drawn(variant: Backend) -> None:
    whole = drawn(variant, (40, 40, 40))
    part = drawn(variant, (7, 5, 3), (8, 12, 16))
    for all_of_them, some, begin in zip(whole, part, (8, 12, 16), strict=True):
        assert torch.equal(all_of_them[begin : begin + len(some)], some)


def of_kind(kind: int, first: int, count: int, seed: int = 3, step: int = 0, high: int = MOST) -> Tensor:
    """Numbers with consecutive indices."""
    indices = range(first, first + count)
    return draw(choose(torch.empty(0)), kind, indices, high, seed, torch.tensor([step]))


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_drawn_in_parts_are_those_drawn_at_once(variant: Backend, kind: int) -> None:
    """Whichever index a part begins at; the C++ kernel has blocks of 64 numbers."""
    if variant.device != "cpu":
        pytest.skip("a GPU's kernels begin at any multiple of four")
    whole = of_kind(kind, 2**34 - 100, 300)  # beyond 2^34 a counter's first word begins again
    assert len(whole.unique()) == 300
    for begin in (0, 1, 3, 62, 66, 100):
        for count in (1, 2, 5, 63, 64, 65, 130, 197):
            part = of_kind(kind, 2**34 - 100 + begin, count)
            assert torch.equal(part, whole[begin : begin + count]), (begin, count)


@pytest.mark.skipif(not INSTRUCTION_SETS, reason="the C++ kernels are not built")
@pytest.mark.parametrize("kind", KINDS)
def test_threads_draw_what_one_does(kind: int) -> None:
    count = 5 * 16_384 + 7
    one = of_kind(kind, 5, count)
    torch.set_num_threads(3)
    assert torch.equal(of_kind(kind, 5, count), one)


@pytest.mark.parametrize("kind", KINDS)
def test_known_answers_of_each_kind(variant: Backend, kind: int) -> None:
    """Numbers from words of ``philox``, which has the published ones, in float64."""
    place, step, seed = 2**32 + 5, 2**40 + 1, 2**62 + 3
    counter = [place & 0xFFFFFFFF, kind + 4 * (place >> 32), step & 0xFFFFFFFF, step >> 32]
    words = philox([torch.tensor([word]) for word in counter], (seed & 0xFFFFFFFF, seed >> 32))
    a, b, c, d = (float(word) for word in words)
    expected = {
        INTEGERS: [word // 2 for word in (a, b, c, d)],
        NORMAL: [
            math.sqrt(-2 * math.log((first + 0.5) / 2**32)) * function(second / 2**31 * math.pi)
            for first, second in ((a, b), (c, d))
            for function in (math.cos, math.sin)
        ],
        UNIFORM: [word // 256 / 2**24 for word in (a, b, c, d)],
    }[kind]
    begins = 4 * place, 4 * place, 4 * place
    sizes = [4 * (each == kind) for each in KINDS]
    found = drawn(variant, tuple(sizes), begins, MOST, seed, step)[kind].double().cpu()  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=2e-6)


def test_what_a_number_depends_on(backend: Backend) -> None:
    first = drawn(backend, (64, 64, 64))
    for other in (drawn(backend, (64, 64, 64), seed=4), drawn(backend, (64, 64, 64), step=1)):
        assert all((a != b).float().mean() > 0.9 for a, b in zip(first, other, strict=True))
    # kinds come from streams of their own
    word = (first[2] * 1_000).long()
    assert (word != first[0]).float().mean() > 0.9


COUNT, CHUNK = 1 << 30, 1 << 20  # of which the C++ kernels draw a billion in a few seconds


def histogram(kind: int, high: int, bins: int, bin_of: Callable[[Tensor], Tensor]) -> Tensor:
    """How many of ``COUNT`` numbers of a kind are in each bin."""
    counts = torch.zeros(bins, dtype=torch.int64)
    for first in range(0, COUNT, CHUNK):
        counts += torch.bincount(bin_of(of_kind(kind, first, CHUNK, high=high)).int(), minlength=bins)
    return counts.double()


def check_counts(found: Tensor, shares: Tensor) -> None:
    """Pearson's chi-squared and Kolmogorov's distance; by chance either fails once in a million times."""
    count = found.sum()
    expected = shares * count
    assert expected.min() > 15
    freedom = len(found) - 1
    chi_squared = float(((found - expected) ** 2 / expected).sum())
    assert abs(chi_squared - freedom) < 5 * math.sqrt(2 * freedom)
    assert (found - expected).cumsum(0).abs().max() < 2.7 * math.sqrt(count)


needs_cpp = pytest.mark.skipif(not INSTRUCTION_SETS, reason="takes an hour without the C++ kernels")


@needs_cpp
def test_a_billion_integers() -> None:
    words = histogram(INTEGERS, MOST, 1 << 16, lambda drawn: drawn >> 15)
    check_counts(words, torch.full((1 << 16,), 2.0**-16, dtype=torch.float64))
    low = histogram(INTEGERS, 2**31, 1 << 10, lambda drawn: drawn & 1023)
    check_counts(low, torch.full((1 << 10,), 2.0**-10, dtype=torch.float64))
    few = histogram(INTEGERS, 60_000, 60_000, lambda drawn: drawn)
    check_counts(few, torch.full((60_000,), 1 / 60_000, dtype=torch.float64))


@needs_cpp
def test_a_billion_uniform_numbers() -> None:
    found = histogram(UNIFORM, 1, 1 << 16, lambda drawn: drawn * 2**16)
    check_counts(found, torch.full((1 << 16,), 2.0**-16, dtype=torch.float64))


@needs_cpp
def test_a_billion_normal_numbers() -> None:
    """Also in the tails, of twenty numbers in a bin."""
    counts = histogram(NORMAL, 1, 14 * 64, lambda drawn: (drawn * 64 + 7 * 64).floor())
    assert counts.sum() == COUNT
    upper = torch.cat([torch.arange(4.5, 5.625, 1 / 8), torch.tensor([7.0])])
    edges = torch.cat([-upper[1:].flip(0), torch.arange(-4.5, 4.5, 1 / 64), upper])
    below = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    check_counts(below[((edges + 7) * 64).long()].diff(), torch.special.ndtr(edges.double()).diff())


@needs_cpp
def test_numbers_that_are_not_correlated() -> None:
    """Neighbours, and one index in other steps, runs and kinds; squares too, as pairs share a radius."""
    count = 1 << 24
    first = of_kind(NORMAL, 0, count + 8)
    others = [of_kind(NORMAL, 0, count, step=step) for step in (1, 2, 2**32)]
    others += [of_kind(NORMAL, 0, count, seed=seed) for seed in (2, 4, 3 + 2**32)]
    others += [of_kind(UNIFORM, 0, count) - 0.5, of_kind(INTEGERS, 0, count).float() / MOST - 0.5]
    for other in [first[lag : lag + count] for lag in range(1, 9)] + others:
        for x, y in ((first[:count], other), (first[:count] ** 2, other**2)):
            correlation = torch.corrcoef(torch.stack([x, y]))[0, 1]
            assert abs(correlation) < 5 / math.sqrt(count)


@needs_cpp
@pytest.mark.parametrize("lag", [1, 2, 3, 4])
def test_pairs_of_uniform_numbers_fill_the_square(lag: int) -> None:
    pairs = torch.zeros(1 << 16, dtype=torch.int64)
    for first in range(0, 1 << 26, CHUNK):
        cells = (of_kind(UNIFORM, first, CHUNK + lag) * 256).int()
        pairs += torch.bincount(cells[:-lag] * 256 + cells[lag:], minlength=1 << 16)
    check_counts(pairs.double(), torch.full((1 << 16,), 2.0**-16, dtype=torch.float64))


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


def test_processes_share_the_numbers_of_one(backend: Backend) -> None:
    """Each has its rows of each batch, also where these begin between multiples of four."""
    clock = torch.full((1,), 7, dtype=torch.int64, device=backend.device)

    def step(draws: CounterDraws, rows: int) -> list[Tensor]:
        draws.begin_step(False)
        batches = draws.normal((3, rows, 5)), draws.uniform((1, rows)), draws.normal((1, rows, 1))
        return [draws.integers(100, rows).view(1, rows), *batches, draws.integers(9, rows).view(1, rows)]

    whole = CounterDraws(5, clock)
    ranks = [CounterDraws(5, clock, World(rank, 3)) for rank in range(3)]
    for _ in range(2):  # one by one, and at once
        parts = zip(*(step(each, 2) for each in ranks), strict=True)
        for ours, theirs in zip(parts, step(whole, 6), strict=True):
            assert torch.equal(torch.cat(ours, dim=1), theirs)


def test_what_one_does_between_steps_changes_no_step() -> None:
    """Such as a callback that generates samples."""
    clock = torch.zeros(1, dtype=torch.int64)
    draws, others = CounterDraws(5, clock), CounterDraws(5, clock)
    for _ in range(3):
        found = []
        for each in (draws, others):
            each.begin_step(False)
            found.append(each.normal((1, 3)).clone())
        assert torch.equal(*found)
        others.normal((1, 9))
