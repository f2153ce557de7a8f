"""Operators of Snake."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.reference_snake import Scale
from fastgan.ops.arguments import (
    check_eps,
    check_filter,
    check_of_channels,
    check_same_shape,
    check_signal,
)
from fastgan.ops.registered.registration import register
from fastgan.ops.registered.shapes import (
    all_grads,
    all_grads_fake,
    check_channels,
    fake_like,
    in_order_of,
)


def _check_snake(input: Tensor, alpha: Tensor, beta: Tensor | None, log_scale: bool, eps: float) -> None:
    check_channels(input)
    for name, each in (("alpha", alpha), ("beta", beta)):
        check_of_channels(each, name, input)
    check_eps(eps)


def _check_snake_backward(grad: Tensor, input: Tensor, *call: Any) -> None:
    _check_snake(input, *call[:4])
    check_same_shape(grad, "grad", input, "input")


def _check_anti_aliased_snake(
    input: Tensor, alpha: Tensor, beta: Tensor | None, up: Tensor, down: Tensor, log_scale: bool, eps: float
) -> None:
    _check_snake(input, alpha, beta, log_scale, eps)
    check_signal(input, "input")
    check_filter(up, "up_filter", input, "input")
    check_filter(down, "down_filter", input, "input")


def _check_anti_aliased_snake_backward(grad: Tensor, input: Tensor, *call: Any) -> None:
    _check_anti_aliased_snake(input, *call[:6])
    check_same_shape(grad, "grad", input, "input")


_OF_SNAKE = "Tensor input, Tensor alpha, Tensor? beta"
_FILTERS = "Tensor up_filter, Tensor down_filter"
_SCALE = "bool log_scale, float eps"
_NEEDS = "bool with_input, bool with_alpha, bool with_beta"
register(
    f"snake({_OF_SNAKE}, {_SCALE}) -> Tensor",
    _check_snake,
    lambda input, alpha, beta, *scale: in_order_of(
        input, 1, choose(input).snake(input, alpha, beta, Scale(*scale))
    ),
    lambda input, *_: fake_like(input, 1),
)
register(
    f"snake_backward(Tensor grad, {_OF_SNAKE}, {_SCALE}, {_NEEDS}) -> (Tensor, Tensor, Tensor)",
    _check_snake_backward,
    lambda grad, input, alpha, beta, log_scale, eps, *needs: all_grads(
        input, choose(input).snake_backward(grad, input, alpha, beta, Scale(log_scale, eps), needs)
    ),
    lambda _, input, alpha, beta, *call: all_grads_fake(input, (alpha, beta), call[-3:]),
)
register(
    f"anti_aliased_snake({_OF_SNAKE}, {_FILTERS}, {_SCALE}) -> Tensor",
    _check_anti_aliased_snake,
    lambda input, alpha, beta, up, down, *scale: in_order_of(
        input, 1, choose(input).anti_aliased_snake(input, alpha, beta, up, down, Scale(*scale))
    ),
    lambda input, *_: fake_like(input, 1),
)
register(
    f"anti_aliased_snake_backward(Tensor grad, {_OF_SNAKE}, {_FILTERS}, {_SCALE}, {_NEEDS}) "
    "-> (Tensor, Tensor, Tensor)",
    _check_anti_aliased_snake_backward,
    lambda grad, input, alpha, beta, up, down, log_scale, eps, *needs: all_grads(
        input,
        choose(input).anti_aliased_snake_backward(
            grad, input, alpha, beta, up, down, Scale(log_scale, eps), needs
        ),
    ),
    lambda _, input, alpha, beta, *call: all_grads_fake(input, (alpha, beta), call[-3:]),
)
