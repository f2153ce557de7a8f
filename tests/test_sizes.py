"""A smaller last batch: what a kernel did at one size it does at the next, and touches nothing beyond it.

Large, odd, large again: a kernel that was compiled for the first may be launched for the second. Behind each
input lie nans, which a load past the end would take into the result; behind each output lie numbers that must
stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from backends import Backend
from oracle import by_reference, check, eager_discriminator_loss, off_the_kink
from torch import Tensor

import fastgan
from fastgan.nn import kaiser_sinc_filter
from fastgan.ops import (
    discriminator_loss_value_and_grad,
    reconstruction_loss_value_and_grad,
)

_ROOM = 64  # elements behind each tensor
_UNTOUCHED = 7


class Guards:
    """Allocates outputs with numbers behind them."""

    def __init__(self) -> None:
        self.tails: list[Tensor] = []

    def around(self, make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def guarded(*args: Any, **options: Any) -> Tensor:
            plain = make(*args, **options)
            room = self.zeros(plain.numel() + _ROOM, dtype=plain.dtype, device=plain.device)
            room[plain.numel() :] = _UNTOUCHED
            self.tails.append(room[plain.numel() :])
            return room.as_strided(plain.size(), plain.stride())

        return guarded

    zeros = staticmethod(torch.zeros)

    def check(self) -> None:
        assert all((tail == _UNTOUCHED).all() for tail in self.tails)


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> Guards:
    guards = Guards()
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, guards.around(getattr(owner, name)))
    return guards


def before_nans(values: Tensor) -> Tensor:
    room = values.new_full((values.numel() + _ROOM,), float("nan"))
    room[: values.numel()] = values.flatten()
    return room[: values.numel()].view(values.shape)


def losses(n: int, dtype: torch.dtype, device: str) -> None:
    inputs = [before_nans((torch.randn(size) * 3).to(device, dtype)) for size in (n, n - n // 8)]
    for reduction in ("mean", "none"):
        check(
            partial(fastgan.discriminator_loss, reduction=reduction),
            partial(eager_discriminator_loss, reduction=reduction),
            partial(by_reference(fastgan.discriminator_loss), reduction=reduction),
            inputs,
        )
    at_once = discriminator_loss_value_and_grad(*inputs)[0]
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(at_once, fastgan.discriminator_loss(*inputs), atol=0, rtol=2 * eps)


def reconstructions(n: int, dtype: torch.dtype, device: str) -> None:
    inputs = [before_nans(torch.randn(n).to(device, dtype)) for _ in range(2)]
    for reduction in ("mean", "none"):
        check(
            partial(fastgan.reconstruction_loss, reduction=reduction),
            partial(torch.nn.functional.l1_loss, reduction=reduction),
            partial(by_reference(fastgan.reconstruction_loss), reduction=reduction),
            inputs,
        )
    _, *grads = reconstruction_loss_value_and_grad(*inputs)
    assert all(grad.isfinite().all() for grad in grads)


def heads(n: int, dtype: torch.dtype, device: str) -> None:
    """Half as many generated samples as real ones: else the bias's gradient would be a rounding error."""
    weight = before_nans((torch.randn(1, 96) / 96**0.5).to(device, dtype))
    bias = before_nans(torch.randn(1).to(device, dtype))
    features = [before_nans(torch.randn(rows, 96).to(device, dtype)) for rows in (n // 8, n // 16)]

    def eager(real: Tensor, fake: Tensor, weight: Tensor, bias: Tensor) -> Tensor | tuple[Tensor, ...]:
        logits = [torch.nn.functional.linear(h, weight, bias) for h in (real, fake)]
        return eager_discriminator_loss(*logits, reduction="sum")

    check(
        lambda *t: fastgan.discriminator_head_loss(*t, reduction="sum"),
        eager,
        lambda *t: by_reference(fastgan.discriminator_head_loss)(*t, reduction="sum"),
        [*features, weight, bias],
    )


def layers(n: int, dtype: torch.dtype, device: str) -> None:
    inputs = [before_nans(t) for t in off_the_kink((n // 8,), (48, 64), dtype, device)]
    check(
        fastgan.linear_leaky_relu,
        lambda *t: by_reference(fastgan.linear_leaky_relu)(*t, 0.2),
        lambda *t: by_reference(fastgan.linear_leaky_relu)(*t, 0.2),
        inputs,
    )


def rows(n: int, dtype: torch.dtype, device: str) -> None:
    _biased((n // 8, 64), dtype, device)


def planes(n: int, dtype: torch.dtype, device: str) -> None:
    """The channels follow the size, as those of one layer and the next do."""
    _biased((2, 64 if n % 16 == 0 else 3, 4, 4), dtype, device)


def _biased(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    inputs = [before_nans(torch.randn(size).to(device, dtype)) for size in (shape, shape[1:2])]

    def plain(x: Tensor, b: Tensor) -> Tensor:
        return by_reference(fastgan.bias_leaky_relu)(x, b, 0.2, dim=1)

    check(fastgan.bias_leaky_relu, plain, plain, inputs)


def norms_of_rows(n: int, dtype: torch.dtype, device: str) -> None:
    _normalized((n // 8, 64), dtype, device)


def norms_of_planes(n: int, dtype: torch.dtype, device: str) -> None:
    _normalized((2, 64 if n % 16 == 0 else 3, 4, 4), dtype, device)


def _normalized(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    """Values far from the mean, and hence from zero: there rounding would change the slope."""
    sign = 1 - 2 * (torch.arange(shape[0]) % 2).view(-1, *[1] * (len(shape) - 1))
    values = [sign * (torch.rand(shape) + 0.5), torch.rand(shape[1]) + 0.5, torch.rand(shape[1]) * 0.1]
    inputs = [before_nans(each.to(device, dtype)) for each in values]
    pair = by_reference(fastgan.batch_norm_leaky_relu)
    check(
        lambda *t: fastgan.batch_norm_leaky_relu(t[0], None, None, *t[1:], training=True),
        lambda *t: pair(t[0], None, None, *t[1:], training=True),
        lambda *t: pair(t[0], None, None, *t[1:], training=True),
        inputs,
    )


def snakes(n: int, dtype: torch.dtype, device: str) -> None:
    """Contiguous, and with channels last in memory."""

    def anti_aliased(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        filters = [kaiser_sinc_filter(taps).to(x) for taps in (12, 9)]
        return fastgan.anti_aliased_snake(x, alpha, beta, *filters)

    def transposed(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        return anti_aliased(x.mT, alpha, beta)

    numbers = [before_nans((torch.rand(3) + 0.5).to(device, dtype)) for _ in "ab"]
    for snake, shape in (
        (fastgan.snake, (1, 3, n // 4)),
        (anti_aliased, (1, 3, n // 4)),
        (transposed, (1, n // 4, 3)),
    ):
        plain = by_reference(snake)
        check(snake, plain, plain, [before_nans(torch.randn(shape).to(device, dtype)), *numbers])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)  # four and eight in 16 bytes
@pytest.mark.parametrize(
    "operation",
    [losses, reconstructions, heads, layers, rows, planes, norms_of_rows, norms_of_planes, snakes],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize(
    "sizes", [(112, 101, 112), pytest.param((49152, 40961, 49152), marks=pytest.mark.long)], ids=str
)
def test_large_odd_large(
    backend: Backend,
    guards: Guards,
    dtype: torch.dtype,
    operation: Callable[[int, torch.dtype, str], None],
    sizes: tuple[int, ...],
) -> None:
    for n in sizes:
        operation(n, dtype, backend.device)
        guards.check()
    assert guards.tails or backend.name == "reference"  # which leaves allocating to PyTorch


def test_the_guards_notice(guards: Guards) -> None:
    output = torch.empty(3)
    output.as_strided((1,), (1,), 3).fill_(0)
    with pytest.raises(AssertionError):
        guards.check()
