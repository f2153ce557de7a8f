"""Operators of the output layer of a generator of tables."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.spans import Spans
from fastgan.ops.arguments import (
    check_conditions,
    check_same_shape,
    check_span_input,
)
from fastgan.ops.registered.registration import check_scalar, contiguous_like, register


def _check_spans(
    input: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    noise: Tensor | None,
    temperature: float,
    conditions: Tensor | None,
) -> None:
    spans = Spans(tuple(sizes), tuple(discrete))
    check_span_input(input, spans, noise, temperature)
    if conditions is not None:
        check_conditions(conditions, spans, input)


def _entropy_like(input: Tensor, conditions: Tensor | None) -> Tensor:
    return input.new_empty(() if conditions is not None else 0, dtype=compute_dtype(input.dtype))


def _span_activations(
    input: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    noise: Tensor | None,
    temperature: float,
    conditions: Tensor | None,
) -> tuple[Tensor, Tensor]:
    spans = Spans(tuple(sizes), tuple(discrete))
    output, entropy = choose(input).span_activations(input, spans, noise, temperature, conditions)
    return output.contiguous(), _entropy_like(input, None) if entropy is None else entropy


def _check_spans_backward(
    grad: Tensor,
    grad_entropy: Tensor | None,
    input: Tensor | None,
    output: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    temperature: float,
    conditions: Tensor | None,
) -> None:
    _check_spans(output, sizes, discrete, None, temperature, conditions)
    check_same_shape(grad, "grad", output, "output")
    if input is not None:
        check_same_shape(input, "input", output, "output")
    if grad_entropy is not None:
        check_scalar(grad_entropy, output)
        if input is None or conditions is None:
            missing = "input" if input is None else "conditions"
            raise ValueError(f"{missing} is None, but the gradient of the cross-entropy needs it")


def _span_activations_backward(
    grad: Tensor,
    grad_entropy: Tensor | None,
    input: Tensor | None,
    output: Tensor,
    sizes: Sequence[int],
    discrete: Sequence[int],
    temperature: float,
    conditions: Tensor | None,
) -> Tensor:
    spans = Spans(tuple(sizes), tuple(discrete))
    dx = choose(output).span_activations_backward(
        grad, grad_entropy, input, output, spans, temperature, conditions
    )
    return dx.contiguous()


register(
    "span_activations(Tensor input, int[] sizes, int[] discrete, Tensor? noise, float temperature, "
    "Tensor? conditions) -> (Tensor, Tensor)",
    _check_spans,
    _span_activations,
    lambda input, *call: (contiguous_like(input), _entropy_like(input, call[-1])),
)
register(
    "span_activations_backward(Tensor grad, Tensor? grad_entropy, Tensor? input, Tensor output, int[] sizes, "
    "int[] discrete, float temperature, Tensor? conditions) -> Tensor",
    _check_spans_backward,
    _span_activations_backward,
    lambda grad, _, __, output, *___: contiguous_like(output),
)
