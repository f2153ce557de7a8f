"""Conditions and batches of rows, drawn from an encoded table, on every backend."""

from __future__ import annotations

import pytest
import torch
from backends import Backend
from torch import Tensor

from fastgan import Spans
from fastgan.kernels import choose
from fastgan.kernels.spans import Table

ROWS = 200


def table(device: str, sizes: tuple[int, ...] = (1, 6, 3, 1, 4), discrete: tuple[int, ...] = (2, 4)) -> Table:
    spans = Spans(sizes, discrete)
    wide = [size for size in sizes if size > 1]
    codes = torch.stack([torch.randint(size, (ROWS,)) for size in wide], 1).to(torch.int32)
    values = torch.rand(ROWS, spans.num_values) * 2 - 1
    kinds = [i for i, size in enumerate(sizes) if size > 1]
    orders, starts = [], [0]
    for span in discrete:
        own = codes[:, kinds.index(span)].long()
        orders.append(own.argsort(stable=True))
        for count in own.bincount(minlength=sizes[span]).tolist():
            starts.append(starts[-1] + count)
    order = torch.cat(orders).to(torch.int32) if orders else torch.zeros(0, dtype=torch.int32)
    return Table(spans, *(t.to(device) for t in (codes, values, order, torch.tensor(starts))))


def expected(t: Table, row: int, condition: int | None) -> list[float]:
    codes, values = t.codes[row].tolist(), t.values[row].tolist()
    found: list[float] = []
    for size in t.spans.sizes:
        found += [values.pop(0)] if size == 1 else [float(i == codes[0]) for i in range(size)]
        if size > 1:
            codes.pop(0)
    if condition is not None:
        found += [float(i == condition) for i in range(t.spans.num_conditions)]
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("with_conditions", [True, False], ids=["conditions", "no conditions"])
def test_a_batch(variant: Backend, dtype: torch.dtype, with_conditions: bool) -> None:
    discrete = (2, 4) if with_conditions else ()
    t = table(variant.device, discrete=discrete)
    uniform = torch.rand(50, device=variant.device)
    conditions = torch.randint(7, (50,), device=variant.device) if with_conditions else None
    room = torch.full(
        (50, t.spans.width + t.spans.num_conditions + 3), 9.0, dtype=dtype, device=variant.device
    )
    into = room[:, 1:-2]
    choose(into).table_batch(t, conditions, uniform, into)
    assert (room[:, [0, -2, -1]] == 9).all()
    for i in range(50):
        share = float(uniform[i])
        if conditions is None:
            row, condition = int(share * ROWS), None
        else:
            condition = int(conditions[i])
            first, end = t.starts[condition : condition + 2].tolist()
            row = int(t.order[first + int(share * (end - first))])
        assert into[i].tolist() == pytest.approx(expected(t, row, condition), rel=1e-7)


def test_rows_have_the_value_of_the_condition(variant: Backend) -> None:
    t = table(variant.device)
    conditions = torch.arange(7, device=variant.device).repeat(10)
    into = torch.empty(70, t.spans.width + 7, device=variant.device)
    choose(into).table_batch(t, conditions, torch.rand(70, device=variant.device), into)
    columns = [*range(7, 10), *range(11, 15)]
    assert into[torch.arange(70), torch.tensor(columns * 10)].eq(1).all()


def test_every_row_is_drawn_alike(backend: Backend) -> None:
    """Each of 200 rows is expected 50 times; the chi-square statistic is within four standard deviations."""
    count = 1_000 if backend.is_interpreted else 10_000
    spans = Spans((1,))
    none = torch.zeros(0, dtype=torch.int32, device=backend.device)
    values = torch.arange(ROWS, dtype=torch.float32, device=backend.device).view(-1, 1)
    t = Table(spans, none.view(ROWS, 0) if ROWS == 0 else none.new_empty(ROWS, 0), values, none, none.long())
    into = torch.empty(count, 1, device=backend.device)
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(1)).to(backend.device)
    choose(into).table_batch(t, None, uniform, into)
    drawn = into.flatten().long().bincount(minlength=ROWS).double()
    chi = ((drawn - count / ROWS) ** 2 / (count / ROWS)).sum()
    assert abs(float(chi) - (ROWS - 1)) < 4 * (2 * (ROWS - 1)) ** 0.5


def test_the_last_number_below_one(variant: Backend) -> None:
    t = table(variant.device)
    into = torch.empty(1, t.spans.width + 7, device=variant.device)
    choose(into).table_batch(
        t, torch.tensor([6], device=into.device), torch.tensor([1 - 2.0**-24], device=into.device), into
    )
    assert into[0].tolist() == pytest.approx(expected(t, int(t.order[-1]), 6), rel=1e-7)


def test_conditions(variant: Backend) -> None:
    shares = torch.tensor([0.1, 0.0, 0.4, 0.5], dtype=torch.float64)
    cumulative = shares.cumsum(0).to(variant.device)
    cumulative[-1] = 1.0
    uniform = torch.tensor([0.0, 0.0999, 0.1001, 0.4999, 0.5001, 1 - 2.0**-24], device=variant.device)
    drawn = choose(uniform).draw_conditions(uniform, cumulative)
    assert drawn.dtype is torch.int64
    assert drawn.tolist() == [0, 0, 2, 2, 3, 3]


def test_a_number_at_the_end_of_a_share_draws_the_next(variant: Backend) -> None:
    """So a condition that has no share is never drawn."""
    cumulative = torch.tensor([0.0, 0.25, 0.5, 0.5, 1.0], dtype=torch.float64, device=variant.device)
    uniform = torch.tensor([0.0, 0.25, 0.5], device=variant.device)
    assert choose(uniform).draw_conditions(uniform, cumulative).tolist() == [1, 2, 4]


def test_many_conditions(variant: Backend) -> None:
    cumulative = torch.rand(777, dtype=torch.float64).cumsum(0).to(variant.device)
    cumulative /= cumulative[-1].clone()
    uniform = torch.rand(300, device=variant.device)
    found = choose(uniform).draw_conditions(uniform, cumulative)
    assert torch.equal(found, torch.searchsorted(cumulative, uniform.double(), right=True))


def wrong_size(t: Table, conditions: Tensor, uniform: Tensor, into: Tensor) -> None:
    choose(into).table_batch(t, conditions, uniform, into)


@pytest.mark.parametrize("case", ["uniform", "conditions", "into"])
def test_sizes_are_checked(backend: Backend, case: str) -> None:
    t = table(backend.device)
    arguments = {
        "conditions": torch.zeros(5, dtype=torch.int64, device=backend.device),
        "uniform": torch.zeros(5, device=backend.device),
        "into": torch.zeros(5, t.spans.width + 7, device=backend.device),
    }
    arguments[case] = arguments[case][:3]
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        wrong_size(t, **arguments)
