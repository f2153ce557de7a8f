"""The end of a step: statistics written down, the next settings in force, on every backend."""

from __future__ import annotations

import pytest
import torch
from backends import Backend

import fastgan
from fastgan.kernels import choose, load


@pytest.mark.parametrize("columns", [1, 5, 8])
def test_rows_settings_and_clock(backend: Backend, columns: int) -> None:
    device = backend.device
    table = torch.full((4, columns), -1.0, device=device)
    schedule = torch.arange(25.0, device=device).view(5, 5)
    row, clock = torch.zeros(1, dtype=torch.int64, device=device), torch.tensor([2**40], device=device)
    settings = schedule[0].clone()
    written = torch.randn(4, columns + 1, device=device)
    for step in range(4):
        # scalars of their own, and parts of a tensor at any address, as a loss's statistics are
        scalars = [written[step, 1].clone(), *written[step, 2:].unbind()]
        choose(table).record(table, row, scalars, schedule, settings, clock)
        assert torch.equal(table[: step + 1], written[: step + 1, 1:])
        assert (table[step + 1 :] == -1).all()
        assert (int(row), int(clock)) == (step + 1, 2**40 + step + 1)
        assert torch.equal(settings, schedule[step + 1])


def test_more_scalars_than_a_kernel_has_pointers_for_are_refused() -> None:
    backend = Backend("cuda")
    if backend.why_not is not None:
        pytest.skip(backend.why_not)
    device = backend.device
    row, schedule = torch.zeros(1, dtype=torch.int64, device=device), torch.zeros(5, 5, device=device)
    table, scalars = torch.zeros(4, 9, device=device), [torch.zeros((), device=device)] * 9
    with fastgan.use_backend("cuda"), pytest.raises(ValueError, match="9 statistics, expected at most 8"):
        choose(table).record(table, row, scalars, schedule, schedule[0].clone(), row.clone())
    assert not row.any()


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_a_table_of_another_width_is_refused(name: str) -> None:
    backend = Backend(name)
    if backend.why_not is not None:
        pytest.skip(backend.why_not)
    one, row = torch.zeros(()), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"table has shape \[4, 2\], expected 4 elements"):
        load(name).record(torch.zeros(4, 2), row, [one], torch.zeros(5, 5), torch.zeros(5), row)


def test_a_row_beyond_the_table_is_refused() -> None:
    table, row = torch.zeros(4, 1), torch.tensor([4])
    with pytest.raises(IndexError, match="row is 4, expected one of 4"):
        choose(table).record(table, row, [torch.ones(())], torch.zeros(5, 5), torch.zeros(5), row.clone())
    assert not table.any()
