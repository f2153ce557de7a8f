"""The weight of VQGAN's adversarial loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fastgan


def losses(last: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    net = nn.Conv2d(3, 1, 4, dtype=dtype)
    output = last(torch.randn(2, 4, 8, 8, dtype=dtype))
    return (output - 1).abs().mean(), -net(output).mean()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_equals_two_gradients(dtype: torch.dtype) -> None:
    last = nn.Conv2d(4, 3, 3, padding=1, dtype=dtype)
    reconstruction, adversary = losses(last, dtype)
    first, second = (
        torch.autograd.grad(loss, last.weight, retain_graph=True)[0] for loss in (reconstruction, adversary)
    )
    weight = fastgan.adaptive_weight(reconstruction, adversary, last.weight)
    torch.testing.assert_close(weight, first.norm() / (second.norm() + 1e-4), rtol=1e-6, atol=0)
    assert not weight.requires_grad
    (reconstruction + weight * adversary).backward()  # the graphs are still there
    assert last.weight.grad is not None
    torch.testing.assert_close(last.weight.grad, first + weight * second)


def test_no_gradient_is_accumulated() -> None:
    last = nn.Conv2d(4, 3, 3)
    fastgan.adaptive_weight(*losses(last, torch.float32), last.weight)
    assert last.weight.grad is None


def test_squares_of_half_gradients_do_not_overflow() -> None:
    last = torch.zeros(10, dtype=torch.float16, requires_grad=True)
    weight = fastgan.adaptive_weight((last * 30000).sum(), (last * 300).sum(), last)
    assert weight.dtype is torch.float32
    torch.testing.assert_close(weight.item(), 100.0, rtol=1e-5, atol=0)


def test_bounds() -> None:
    last = torch.ones(3, requires_grad=True)
    assert fastgan.adaptive_weight(last.sum() * 1e6, last.sum() * 0, last) == 1e4
    assert fastgan.adaptive_weight(last.sum() * 1e6, last.sum() * 0, last, maximum=2.5) == 2.5
    assert fastgan.adaptive_weight(last.sum() * 0, last.sum(), last) == 0
    assert fastgan.adaptive_weight(last.sum() * float("nan"), last.sum(), last).isnan()


W = torch.ones(3, requires_grad=True)
ERRORS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "module": (
        lambda: fastgan.adaptive_weight(W.sum(), W.sum(), nn.Linear(1, 1)),  # type: ignore[arg-type]
        TypeError,
        "last_layer must be a tensor, but is a Linear; pass its weight",
    ),
    "elsewhere": (
        lambda: fastgan.adaptive_weight(W.sum(), torch.ones(3, requires_grad=True).sum(), W),
        ValueError,
        r"last_layer, of shape \(3,\), is not in the graph of adversarial_loss",
    ),
    "no graph": (
        lambda: fastgan.adaptive_weight(W.sum().detach(), W.sum(), W),
        ValueError,
        "is not in the graph of reconstruction_loss",
    ),
    "frozen": (
        lambda: fastgan.adaptive_weight(W.sum(), W.sum(), W.detach()),
        ValueError,
        "is not in the graph of reconstruction_loss",
    ),
    "not a scalar": (
        lambda: fastgan.adaptive_weight(W.sum(), W * 2, W),
        ValueError,
        r"adversarial_loss must be a scalar, but has shape \(3,\)",
    ),
    "maximum": (
        lambda: fastgan.adaptive_weight(W.sum(), W.sum(), W, maximum=-1.0),
        ValueError,
        "maximum must not be negative, but is -1.0",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
