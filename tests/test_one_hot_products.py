"""Products of a recorded step that skip columns of zeros and a one: the bits of products of all columns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastgan.kernels.cpu.tape import OneHot, Tape, packed_size, replay


def run(tape: Tape) -> None:
    tape.stage()
    tape.unit(1, 1)
    replay([tape], [0], 1, 2, 0.0, lambda: False)


def one_hot(rows: int, dense: int, columns: int) -> tuple[Tensor, OneHot]:
    """``[rows, dense + columns]`` with zeros and a one in the last columns, and where the ones are."""
    x = torch.randn(rows, dense + columns)
    indices = torch.randint(columns, (rows,))
    x[:, dense:] = torch.nn.functional.one_hot(indices, columns)
    return x, OneHot(indices, columns)


SHAPES = [
    (30, 7, 5, 40),
    (9, 250, 20, 33),
    (50, 3, 600, 17),
    (600, 3, 1, 40),
    (300, 300, 9, 2),
    (7, 20, 300, 4),
]


@pytest.mark.parametrize(("rows", "dense", "columns", "features"), SHAPES)
def test_forward(rows: int, dense: int, columns: int, features: int) -> None:
    torch.manual_seed(0)
    x, hot = one_hot(rows, dense, columns)
    weight, bias = torch.randn(features, dense + columns), torch.randn(features)
    expected, found = torch.empty(2, rows, features)
    packed = torch.empty(packed_size(*weight.shape))
    tape = Tape()
    tape.stage()
    tape.unit(features, features)
    tape.pack(weight, packed, None)
    tape.stage()
    tape.unit(rows, 8)
    tape.forward(x, weight, packed, bias, 0.2, expected)
    unread = x.clone()
    unread[:, dense:] = torch.nan
    tape.forward(unread, weight, packed, bias, 0.2, found, hot)
    run(tape)
    assert torch.equal(found, expected)
    exact = torch.nn.functional.leaky_relu(x.double() @ weight.double().T + bias, 0.2)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("rows", "dense", "columns", "features"), SHAPES)
def test_wgrad(rows: int, dense: int, columns: int, features: int) -> None:
    torch.manual_seed(0)
    x, hot = one_hot(rows, dense, columns)
    dz = torch.randn(rows, features)
    expected, found = torch.empty(2, features, dense + columns)
    tape = Tape()
    tape.stage()
    tape.unit(features, 32)
    tape.wgrad(dz, None, x, expected)
    unread = x.clone()
    unread[:, dense:] = torch.nan
    tape.wgrad(dz, None, unread, found, hot)
    run(tape)
    assert torch.equal(found, expected)
    torch.testing.assert_close(found.double(), dz.double().T @ x.double(), rtol=1e-5, atol=1e-4)
