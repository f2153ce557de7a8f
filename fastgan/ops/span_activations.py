"""The output layer of a generator of tables: tanh, Gumbel-softmax and the cross-entropy of conditions."""

from __future__ import annotations

from typing import Any, overload

from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.spans import Spans
from fastgan.ops.arguments import check_conditions, check_span_input
from fastgan.ops.routing import Function, apply, backend_for, route


@overload
def span_activations(
    input: Tensor,
    spans: Spans,
    noise: Tensor | None = None,
    conditions: None = None,
    *,
    temperature: float = 0.2,
) -> Tensor: ...


@overload
def span_activations(
    input: Tensor,
    spans: Spans,
    noise: Tensor | None = None,
    *,
    conditions: Tensor,
    temperature: float = 0.2,
) -> tuple[Tensor, Tensor]: ...


def span_activations(
    input: Tensor,
    spans: Spans,
    noise: Tensor | None = None,
    conditions: Tensor | None = None,
    *,
    temperature: float = 0.2,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""tanh and Gumbel-softmax of all spans of an output layer in one launch.

    A span of one column gets tanh. A longer one gets :math:`\mathrm{softmax}((x + g) / \tau)` with Gumbel
    noise :math:`g = -\log(-\log u)`, a differentiable one-hot vector that is drawn with the probabilities
    :math:`\mathrm{softmax}(x)` (Jang et al. 2017, arXiv:1611.01144, eq. 2). CTGAN generates its rows so (Xu
    et al. 2019, arXiv:1907.00503, section 4.3), with conditions that the cross-entropy enforces.

    Only the output is saved for backward, and with conditions the input. For a temperature of 0.2 a span of
    zeros and a one has no gradient left: the cross-entropy, which has neither noise nor temperature, does.

    Args:
        input: x, ``[N, D]``, with D columns in all spans.
        spans: the columns of each span.
        noise: u, float32 ``[N, D]``, uniform in [0, 1); columns of tanh are not read. 0 counts as 2⁻²⁵. None
            for no noise.
        conditions: int64 ``[N]``: the condition of each row, a column of a span of ``spans.conditions``. A
            number out of range counts as the nearest.
        temperature: tau.

    Returns:
        Activations, like ``input``. With conditions also the mean over rows of the cross-entropy of the
        condition in its span, a scalar, float32 (float64 for float64 input).

    Raises:
        TypeError: an argument is no tensor of the right dtype.
        ValueError: shapes do not fit, devices differ, or ``temperature`` is not positive.

    >>> spans = fastgan.Spans((1, 3), conditions=(1,))
    >>> output, entropy = fastgan.span_activations(
    ...     torch.zeros(2, 4), spans, torch.rand(2, 4), conditions=torch.tensor([0, 2])
    ... )
    >>> output.shape, round(entropy.item(), 4)
    (torch.Size([2, 4]), 1.0986)
    """
    check_span_input(input, spans, noise, temperature)
    if conditions is not None:
        check_conditions(conditions, spans, input)
    backend, is_wired = route(input, noise, conditions)
    if not is_wired:
        output, entropy = backend.span_activations(input, spans, noise, temperature, conditions)
        return output if entropy is None else (output, entropy)
    result: tuple[Tensor, Tensor] = apply(
        SpanActivations, backend, input, noise, conditions, spans, temperature
    )
    return result if conditions is not None else result[0]


class SpanActivations(Function):
    """(input, noise, conditions) -> the activations, and the cross-entropy or an empty tensor."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        input: Tensor,
        noise: Tensor | None,
        conditions: Tensor | None,
        spans: Spans,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        output, entropy = backend.span_activations(input, spans, noise, temperature, conditions)
        ctx.save_for_backward(None if conditions is None else input, output, conditions)
        ctx.call = backend, spans, temperature
        if entropy is None:
            entropy = input.new_empty(0)
            ctx.mark_non_differentiable(entropy)
        return output, entropy

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_entropy: Tensor) -> tuple[Tensor | None, ...]:
        input, output, conditions = ctx.saved_tensors
        backend, spans, temperature = ctx.call
        of_entropy = None if conditions is None else grad_entropy
        dx = backend_for(backend, grad, of_entropy).span_activations_backward(
            grad, of_entropy, input, output, spans, temperature, conditions
        )
        return None, dx, None, None, None, None
