"""A training step as a list of native calls, and its replay in one call.

:class:`Tape` checks sizes and memory as calls are added; afterwards nothing is checked. It keeps the tensors
of its calls alive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastgan.kernels.activations import Activation
from fastgan.kernels.cpu.activations import KINDS
from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.logit_losses import NUMBERS, LossSpec, cached_weights_of
from fastgan.kernels.native import address, rows_address
from fastgan.kernels.sizes import of_size
from fastgan.kernels.spans import Spans, Table

_FLOAT = torch.float32

BatchStatistics = tuple[Tensor, Tensor]
"""Mean and variance of each column of a batch."""


class OneHot(NamedTuple):
    """The last columns of a matrix: zeros and a one in each row, which are not read.

    Attributes:
        indices: int64 ``[N]``: in which of them each row has its one.
        columns: how many.
    """

    indices: Tensor
    columns: int


class Tape:
    """Calls on float32 tensors, in stages of units of rows (``csrc/cpu/tape.h``).

    A call takes a tensor with one or more rows (or elements) for each row of its unit: their number is a
    multiple of the unit's rows.
    """

    def __init__(self) -> None:
        self._calls = _cpu.Tape()
        self._kept: list[Tensor] = []
        self._rows = 0

    def stage(self) -> None:
        """Begin a stage: what follows waits for everything before."""
        self._calls.stage()

    def unit(self, rows: int, step: int) -> None:
        """Begin a unit of ``rows`` rows, taken ``step`` at a time."""
        self._rows = rows
        self._calls.unit(rows, step)

    # --- products, by rows of x or dz

    def forward(
        self,
        x: Tensor,
        weight: Tensor,
        packed: Tensor,
        bias: Tensor | None,
        negative_slope: float,
        y: Tensor,
        hot: OneHot | None = None,
    ) -> None:
        """``y = leaky_relu(x @ weight.T + bias)``.

        Args:
            x: ``[N, K]``, with adjacent columns.
            weight: ``[M, K]``.
            packed: the weight, written by :meth:`pack`.
            bias: ``[M]``.
            negative_slope: 1 for no activation.
            y: ``[N, M]``, with adjacent columns.
            hot: the last columns of x, if they are zeros and a one.
        """
        features, width = weight.shape
        count = len(x)
        to_x, to_y = self._matrix(x, count, width), self._matrix(y, count, features)
        to_bias = 0 if bias is None else self._at(bias, features)
        call = self._ratio(count), width, features, *to_x, *self._hot(hot, count)
        self._calls.forward(*call, self._at(weight), self._at(packed), to_bias, negative_slope, *to_y)

    def dgrad(
        self,
        dz: Tensor,
        weight: Tensor,
        packed: Tensor,
        output: Tensor | None,
        negative_slope: float,
        dx: Tensor,
    ) -> None:
        """``dx = dz @ weight``, times the slope of the leaky ReLU that gave ``output``, if there is one.

        Args:
            dz: ``[N, M]``.
            weight: ``[M, K]``.
            packed: the weight, written by :meth:`pack`.
            output: like dx.
            negative_slope: slope of that leaky ReLU.
            dx: ``[N, K]``, or ``[N, k]`` for the first k columns.
        """
        (features, width), columns = weight.shape, dx.shape[1]
        count = len(dz)
        if columns > width:
            raise ValueError(f"dx has {columns} columns, expected at most {width}, those of the weight")
        to_dz, to_dx = self._at(dz, count * features), self._at(dx, count * columns)
        to_output = 0 if output is None else self._like(output, dx)
        call = self._ratio(count), width, features, to_dz, self._at(weight), self._at(packed)
        self._calls.dgrad(*call, to_output, negative_slope, to_dx, columns)

    def climb(
        self,
        x: Tensor,
        weight: Tensor,
        packed: Tensor,
        output: Tensor | None,
        negative_slope: float,
        y: Tensor,
    ) -> None:
        """``y = x @ weight.T``, times the slope of the leaky ReLU that gave ``output``; shaped as forward."""
        features, width = weight.shape
        count = len(x)
        to_x, to_y = self._at(x, count * width), self._at(y, count * features)
        to_output = 0 if output is None else self._at(output, count * features)
        call = self._ratio(count), width, features, to_x, self._at(weight), self._at(packed)
        self._calls.climb(*call, to_output, negative_slope, to_y)

    # --- by rows of a weight, or elements of a bias

    def wgrad(
        self, dz: Tensor, scale: Tensor | None, x: Tensor, dw: Tensor, hot: OneHot | None = None
    ) -> None:
        """``dw = (scale * dz).T @ x``.

        Args:
            dz: ``[N, M]``.
            scale: ``[N]``.
            x: ``[N, K]``, with adjacent columns.
            dw: ``[M, K]``.
            hot: the last columns of x, if they are zeros and a one; without ``scale``.
        """
        (features, width), count = dw.shape, len(dz)
        to_hot, hot_columns = self._hot(hot, count)
        dense = width - hot_columns
        to_dz, to_x = self._at(dz, count * features), self._matrix(x, count, width)
        to_scale = 0 if scale is None else self._at(scale, count)
        self._calls.wgrad(count, dense, features, to_dz, to_scale, *to_x, self._at(dw), width)
        if hot is not None:
            to_last, row = self._matrix(dw[:, dense:], features, hot_columns)
            self._calls.hot_wgrad(count, hot_columns, features, to_dz, to_hot, to_last, row)

    def bias_gradient(self, dz: Tensor, scale: Tensor | None, db: Tensor) -> None:
        """``db = (scale * dz).sum(0)``, for dz ``[N, M]``, scale ``[N]``, db ``[M]``."""
        count, features = dz.shape
        to_scale = 0 if scale is None else self._at(scale, count)
        self._calls.bias_gradient(count, features, self._at(dz), to_scale, self._at(db, features))

    def pack(self, weight: Tensor, forward: Tensor | None, dgrad: Tensor | None) -> None:
        """Pack ``weight`` for :meth:`forward` and :meth:`dgrad`; sizes: :func:`packed_size`."""
        features, width = weight.shape
        to_forward = 0 if forward is None else self._at(forward, packed_size(features, width))
        to_dgrad = 0 if dgrad is None else self._at(dgrad, packed_size(width, features))
        self._calls.pack(features, width, self._at(weight), to_forward, to_dgrad)

    def add(self, source: Tensor, to: Tensor) -> None:
        """``to += source``."""
        self._calls.add(self._each(to), self._like(source, to), self._at(to))

    def scale_by(self, x: Tensor, factor: Tensor) -> None:
        """``x *= factor``, which is one element."""
        self._calls.scale_by(self._each(x), self._at(x), self._at(factor, 1))

    def adam(
        self,
        values: Tensor,
        grads: Tensor,
        moments: tuple[Tensor, Tensor],
        average: Tensor | None,
        count: Tensor,
        learning_rate: Tensor,
        average_weight: Tensor,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.adam`; ``count`` already counts this step."""
        first, second = moments
        self._calls.adam(
            self._each(values),
            self._at(values),
            self._like(grads, values),
            self._like(first, values),
            self._like(second, values),
            0 if average is None else self._like(average, values),
            self._at(count, 1),
            self._at(learning_rate, 1),
            self._at(average_weight, 1),
            *betas,
            eps,
            weight_decay,
        )

    def sgd(
        self,
        values: Tensor,
        grads: Tensor,
        velocity: Tensor,
        average: Tensor | None,
        learning_rate: Tensor,
        momentum: Tensor,
        average_weight: Tensor,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.sgd`."""
        self._calls.sgd(
            self._each(values),
            self._at(values),
            self._like(grads, values),
            self._like(velocity, values),
            0 if average is None else self._like(average, values),
            self._at(learning_rate, 1),
            self._at(momentum, 1),
            self._at(average_weight, 1),
        )

    # --- by rows of a batch

    def draw(self, to: Tensor, kind: int, begin: int, high: int, seed: int, step: Tensor) -> None:
        """Random numbers as :meth:`fastgan.kernels.reference.Reference.draw` defines them.

        Args:
            to: int64 for integers, otherwise float32.
            kind: 0 for integers in [0, high), 1 for normal and 2 for uniform numbers.
            begin: index of the first number.
            high: exclusive upper bound of integers.
            seed: seed of the run.
            step: int64 ``[1]``: the current step.
        """
        to_numbers = self._at(to, dtype=torch.int64 if kind == 0 else _FLOAT)
        to_step = self._at(step, 1, torch.int64)
        self._calls.draw(self._each(to), kind, to_numbers, begin, high, seed, to_step)

    def gather(self, data: Tensor, rows: Tensor, to: Tensor) -> None:
        """``to [N, ...] = data[rows]``; uint8 pixels become numbers in [-1, 1]."""
        is_bytes = data.dtype is torch.uint8
        width = data[0].numel()
        to_data = self._at(data, dtype=torch.uint8 if is_bytes else _FLOAT)
        to_rows, to_batch = self._at(rows, dtype=torch.int64), self._at(to, len(rows) * width)
        self._calls.gather(self._ratio(len(rows)), is_bytes, to_data, to_rows, to_batch, width)

    def add_noise(self, samples: Tensor, noise: Tensor, std: Tensor, to: Tensor) -> None:
        """``to = samples + std * noise``; ``std`` is one element."""
        each = self._like(samples, to), self._like(noise, to), self._at(std, 1)
        self._calls.add_noise(self._each(to), *each, self._at(to))

    def scale(self, source: Tensor, factor: float, to: Tensor) -> None:
        """``to = factor * source``."""
        self._calls.scale(self._each(to), self._like(source, to), factor, self._at(to))

    def scale_shift(self, x: Tensor, factor: float, shift: float) -> None:
        """``x = factor * x + shift``, rounded twice."""
        self._calls.scale_shift(self._each(x), self._at(x), factor, shift)

    def fill(self, to: Tensor, value: float) -> None:
        self._calls.fill(self._each(to), self._at(to), value)

    def copy(self, source: Tensor, to: Tensor) -> None:
        self._calls.copy(self._each(to), self._like(source, to), self._at(to))

    def multiply_rows(self, x: Tensor, factors: Tensor, to: Tensor) -> None:
        """``to = x * factors``, for x ``[N, K]`` and factors ``[N, 1]``."""
        count, width = x.shape
        each = self._like(x, to), self._at(factors, count), self._at(to)
        self._calls.multiply_rows(self._ratio(count), *each, width)

    def between(self, real: Tensor, fake: Tensor, share: Tensor, to: Tensor) -> None:
        """As :func:`fastgan.penalties.between`, for real ``[N, K]`` and share ``[N, 1]``."""
        count, width = real.shape
        each = self._like(real, to), self._like(fake, to), self._at(share, count), self._at(to)
        self._calls.between(self._ratio(count), *each, width)

    def around(self, real: Tensor, share: Tensor, noise: Tensor, half_deviation: Tensor, to: Tensor) -> None:
        """As :func:`fastgan.penalties.around`, with half the standard deviation of the real samples."""
        count, width = real.shape
        each = (
            self._like(real, to),
            self._at(share, count),
            self._like(noise, to),
            self._at(half_deviation, 1),
        )
        self._calls.around(self._ratio(count), *each, self._at(to), width)

    def lipschitz(self, slope: Tensor, weight: float, grad: Tensor) -> None:
        """``grad``, the gradient of ``weight * (|slope| - 1)**2`` for each row of slope ``[N, K]``."""
        count, width = slope.shape
        self._calls.lipschitz(self._ratio(count), self._like(slope, grad), self._at(grad), width, weight)

    def activate(self, z: Tensor, activation: Activation) -> None:
        """Tanh or sigmoid, in place."""
        self._calls.activate(self._each(z), self._at(z), KINDS[activation.kind])

    def activation_grad(self, dy: Tensor, y: Tensor, dz: Tensor, activation: Activation) -> None:
        """``dz`` from ``dy`` and the output ``y`` of a leaky ReLU, tanh or sigmoid."""
        each = self._like(dy, dz), self._like(y, dz), self._at(dz)
        self._calls.activation_grad(self._each(dz), *each, KINDS[activation.kind], activation.negative_slope)

    def maxout(self, z: Tensor, y: Tensor, pieces: int) -> None:
        """``y [N, M]``, the largest of ``pieces`` pieces of z ``[N, pieces * M]``."""
        count, width = y.shape
        self._calls.maxout(
            self._ratio(count), self._at(z, count * pieces * width), self._at(y), width, pieces
        )

    def maxout_grad(self, dy: Tensor, z: Tensor, y: Tensor, dz: Tensor, pieces: int) -> None:
        """``dz [N, pieces * M]`` from ``dy [N, M]``, shared equally among the largest pieces."""
        count, width = y.shape
        each = self._like(dy, y), self._like(z, dz), self._at(y), self._at(dz, count * pieces * width)
        self._calls.maxout_grad(self._ratio(count), *each, width, pieces)

    def maxout_tangent(self, a: Tensor, z: Tensor, y: Tensor, to: Tensor, pieces: int) -> None:
        """``to [N, M]``, the mean of a ``[N, pieces * M]`` over the largest pieces of z."""
        count, width = y.shape
        each = self._like(a, z), self._at(z, count * pieces * width), self._at(y), self._like(to, y)
        self._calls.maxout_tangent(self._ratio(count), *each, width, pieces)

    def dropout(
        self, y: Tensor, derivative: Tensor, begin: int, seed: int, step: Tensor, share: float, slope: float
    ) -> None:
        """Dropout after a leaky ReLU, in place.

        Args:
            y: ``[N, K]``, outputs of the leaky ReLU, which are kept and scaled, or become zero.
            derivative: like y: receives the derivative of both.
            begin: index of the first of its uniform numbers, as for :meth:`draw`.
            seed: seed of the run.
            step: int64 ``[1]``: the current step.
            share: share of the outputs that become zero.
            slope: the leaky ReLU's negative slope.
        """
        to_step = self._at(step, 1, torch.int64)
        each = self._each(y), self._at(y), self._like(derivative, y)
        self._calls.dropout(*each, begin, seed, to_step, 1 - share, 1 / (1 - share), slope)

    def multiply(self, x: Tensor, factors: Tensor) -> None:
        """``x *= factors``."""
        self._calls.multiply(self._each(x), self._at(x), self._like(factors, x))

    def copy_columns(self, source: Tensor, to: Tensor) -> None:
        """``to [N, K] = source``, both with adjacent columns."""
        count, width = to.shape
        matrices = *self._matrix(source, count, width), *self._matrix(to, count, width)
        self._calls.copy_columns(self._ratio(count), width, *matrices)

    def add_columns(self, source: Tensor, to: Tensor) -> None:
        """``to [N, K] += source``, both with adjacent columns."""
        count, width = to.shape
        matrices = *self._matrix(source, count, width), *self._matrix(to, count, width)
        self._calls.add_columns(self._ratio(count), width, *matrices)

    # --- rows of tables

    def draw_conditions(self, uniform: Tensor, cumulative: Tensor, drawn: Tensor) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.draw_conditions`."""
        to_drawn = self._at(drawn, uniform.numel(), torch.int64)
        to_shares = self._at(cumulative, dtype=torch.float64)
        self._calls.draw_conditions(
            self._each(uniform), self._at(uniform), to_shares, cumulative.numel(), to_drawn
        )

    def table_rows(self, table: Table, conditions: Tensor | None, uniform: Tensor, into: Tensor) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.table_batch`, into float32."""
        spans, count = table.spans, len(uniform)
        rows = len(table.codes)
        of_spans, targets = self._spans(spans)
        if conditions is None:
            targets = 0, 0
        self._calls.table_rows(
            *(self._ratio(count), spans.width, rows, *of_spans, *targets),
            *(self._at(table.codes, rows * spans.num_codes, torch.int32), spans.num_codes),
            *(self._at(table.values, rows * spans.num_values), spans.num_values),
            *(self._at(table.order, dtype=torch.int32), table.order.numel()),
            self._at(table.starts, dtype=torch.int64),
            0 if conditions is None else self._at(conditions, count, torch.int64),
            self._at(uniform),
            *self._matrix(into, count, spans.width + targets[1]),
        )

    def one_hot(self, conditions: Tensor, to: Tensor) -> None:
        """Conditions, int64 ``[N]``, as zeros and a one: ``[N, C]`` with adjacent columns."""
        count, width = to.shape
        to_conditions = self._at(conditions, count, torch.int64)
        self._calls.one_hot(self._ratio(count), to_conditions, width, *self._matrix(to, count, width))

    def span_activations(
        self,
        input: Tensor,
        spans: Spans,
        noise: Tensor,
        temperature: float,
        conditions: Tensor | None,
        output: Tensor,
        entropies: Tensor | None,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.span_activations`; the unit's rows are input's.

        The unit's pieces are multiples of :func:`rows_of_entropy`. ``entropies``, float64, has an element for
        each so many rows, for :meth:`mean_entropy`; None without conditions.
        """
        count = len(input)
        of_spans, targets = self._spans(spans)
        self._calls.span_activations(
            *(count, spans.width, *of_spans, *targets, temperature),
            self._at(input, count * spans.width),
            self._at(noise, count * spans.width),
            0 if conditions is None else self._at(conditions, count, torch.int64),
            *self._matrix(output, count, spans.width),
            0 if entropies is None else self._at(entropies, _parts_of_entropy(count, spans), torch.float64),
        )

    def span_gradients(
        self,
        grad: Tensor,
        input: Tensor | None,
        output: Tensor,
        spans: Spans,
        temperature: float,
        conditions: Tensor | None,
        to: Tensor,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.span_activations_backward`.

        The gradient of the cross-entropy is 1, or 0 if ``input`` is None.
        """
        count = len(to)
        of_spans, targets = self._spans(spans)
        self._calls.span_gradients(
            *(self._ratio(count), count, spans.width, *of_spans, *targets, temperature),
            0 if input is None else self._like(input, to),
            0 if conditions is None else self._at(conditions, count, torch.int64),
            *self._matrix(output, count, spans.width),
            *self._matrix(grad, count, spans.width),
            self._at(to, count * spans.width),
        )

    def normalize(self, x: Tensor, norm: nn.BatchNorm1d, y: Tensor) -> None:
        """Batch norm with the running statistics and ReLU, of the unit's rows.

        Args:
            x: ``[N, K]``.
            norm: weight, bias and running statistics, ``[K]`` each.
            y: ``[N, K]``, with adjacent columns.
        """
        count, channels = x.shape
        assert norm.running_mean is not None
        assert norm.running_var is not None
        numbers = norm.running_mean, norm.running_var, norm.weight, norm.bias
        mean, var, weight, bias = (self._at(each, channels) for each in numbers)
        to_y = self._matrix(y, count, channels)
        self._calls.normalize(channels, norm.eps, self._at(x), mean, var, weight, bias, *to_y)

    def encode(self, rows: Tensor, spans: Spans, clock: Tensor, codes: Tensor, values: Tensor) -> None:
        """Write the row of an encoded table that each activated row stands for.

        Args:
            rows: ``[N, D]`` with adjacent columns, the unit's rows.
            spans: their spans. Of a softmax, the first largest column counts.
            clock: int64 ``[1]``; the results are block ``clock % B``.
            codes: int32 ``[B, N, softmax spans]``.
            values: ``[B, N, tanh spans]``.
        """
        count, blocks = len(rows), len(codes)
        of_spans, _ = self._spans(spans)
        matrix = self._matrix(rows, count, spans.width)
        to_clock = self._at(clock, 1, torch.int64)
        to_codes = self._at(codes, blocks * count * spans.num_codes, torch.int32)
        to_values = self._at(values, blocks * count * spans.num_values)
        widths = spans.num_codes, spans.num_values
        self._calls.encode(
            *(count, *of_spans, *matrix, to_clock, blocks), to_codes, widths[0], to_values, widths[1]
        )

    # --- by columns

    def batch_norm(
        self, x: Tensor, batch: BatchStatistics, norm: nn.BatchNorm1d, momentum: float, y: Tensor
    ) -> None:
        """Batch norm and ReLU of x ``[N, K]``, with its statistics, which also move the running ones.

        Args:
            x: the input.
            batch: receive the statistics.
            norm: weight, bias and running statistics, ``[K]`` each.
            momentum: weight of the new statistics in the running ones.
            y: ``[N, K]``, with adjacent columns.
        """
        count, channels = x.shape
        assert norm.running_mean is not None
        assert norm.running_var is not None
        numbers = *batch, norm.weight, norm.bias, norm.running_mean, norm.running_var
        mean, var, weight, bias, running_mean, running_var = (self._at(each, channels) for each in numbers)
        own = count, channels, norm.eps, momentum, self._at(x), mean, var, weight, bias
        self._calls.batch_norm(*own, running_mean, running_var, *self._matrix(y, count, channels))

    def batch_norm_backward(
        self,
        dy: Tensor,
        x: Tensor,
        batch: BatchStatistics,
        norm: nn.BatchNorm1d,
        dx: Tensor,
        grads: tuple[Tensor, Tensor],
    ) -> None:
        """From dy ``[N, K]``, with adjacent columns, the gradients dx and those of weight and bias."""
        count, channels = x.shape
        numbers = *batch, norm.weight, norm.bias, *grads
        mean, var, weight, bias, dweight, dbias = (self._at(each, channels) for each in numbers)
        own = count, channels, norm.eps, self._at(x), mean, var, weight, bias
        gradients = *self._matrix(dy, count, channels), self._like(dx, x)
        self._calls.batch_norm_backward(*own, *gradients, dweight, dbias)

    # --- all rows at once: for units of one row

    def mean_entropy(self, rows: int, spans: Spans, entropies: Tensor, to: Tensor) -> None:
        """The mean cross-entropy of so many rows, as one element."""
        to_entropies = self._at(entropies, _parts_of_entropy(rows, spans), torch.float64)
        self._calls.mean_entropy(rows, spans.width, to_entropies, self._at(to, 1))

    def count_integer(self, count: Tensor, more: int) -> None:
        """``count += more``, one int64 element."""
        self._calls.count_integer(self._at(count, 1, torch.int64), more)

    def copy_bytes(self, source: Tensor, to: Tensor) -> None:
        """``to = source``, of any dtype."""
        to_source = self._at(source, to.numel(), to.dtype)
        self._calls.copy_bytes(to.nbytes, to_source, self._at(to, dtype=to.dtype))

    def loss(
        self,
        logits: Sequence[Tensor],
        spec: LossSpec,
        grads: Sequence[Tensor],
        total: Tensor,
        details: Tensor | None,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.loss_and_grad`, into given memory.

        Args:
            logits: tensors of any number of elements.
            spec: the loss, with a label and a weight for each of them.
            grads: gradients, like the logits; empty if they are not needed.
            total: the loss, one element.
            details: ``[2 * count + 1]`` for ``count`` tensors, or None.
        """
        sizes = [t.numel() for t in logits]
        self._calls.loss(
            NUMBERS[spec.loss],
            [self._at(t) for t in logits],
            sizes,
            spec.labels,
            cached_weights_of(spec, tuple(sizes)),
            [self._at(grad, size) for grad, size in zip(grads, sizes, strict=bool(grads))],
            self._at(total, 1),
            0 if details is None else self._at(details, 2 * len(sizes) + 1),
        )

    def subtract(self, a: Tensor, b: Tensor, divisor: float, to: Tensor) -> None:
        """``to = a - b / divisor``; b is like a, or one element."""
        each = self._like(a, to), self._at(b), b.numel() == 1, divisor
        self._calls.subtract(to.numel(), *each, self._at(to))

    def norm(self, x: Tensor, order: int, to: Tensor) -> None:
        """The sum of absolutes (order 1) or the root of the sum of squares (order 2), as one element."""
        self._calls.norm(self._at(x), x.numel(), order, self._at(to, 1))

    def half_deviation(self, real: Tensor, to: Tensor) -> None:
        """Half the standard deviation of all elements, as one element."""
        self._calls.half_deviation(self._at(real), real.numel(), self._at(to, 1))

    def clip_factor(self, grads: Tensor, max_norm: float, to: Tensor) -> None:
        """The factor that limits the norm of gradients, as one element."""
        self._calls.clip_factor(self._at(grads), grads.numel(), max_norm, self._at(to, 1))

    def count(self, count: Tensor) -> None:
        """``count += 1``, one element."""
        self._calls.count(self._at(count, 1))

    def record(
        self,
        table: Tensor,
        row: Tensor,
        scalars: Sequence[Tensor],
        schedule: Tensor,
        settings: Tensor,
        clock: Tensor,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.record`."""
        self._calls.record(
            [self._at(scalar, 1) for scalar in scalars],
            self._at(table),
            self._at(row, 1, torch.int64),
            self._at(schedule),
            settings.numel(),
            self._at(settings),
            self._at(clock, 1, torch.int64),
        )

    def _at(self, tensor: Tensor, size: int | None = None, dtype: torch.dtype = _FLOAT) -> int:
        """The address of a tensor, which the tape keeps alive."""
        if size is not None:
            of_size(tensor, size, "a tensor of a recorded step")
        self._kept.append(tensor)
        return address(tensor, dtype)

    def _matrix(self, tensor: Tensor, rows: int, columns: int) -> tuple[int, int]:
        """The address of a matrix with adjacent columns, and the elements from each row to the next."""
        self._kept.append(tensor)
        return rows_address(tensor, _FLOAT, rows, columns, "a matrix of a recorded step")

    def _hot(self, hot: OneHot | None, rows: int) -> tuple[int, int]:
        """The address of the indices, and the number of columns."""
        return (0, 0) if hot is None else (self._at(hot.indices, rows, torch.int64), hot.columns)

    def _spans(self, spans: Spans) -> tuple[tuple[int, int], tuple[int, int]]:
        """The addresses and lengths of both tables of spans."""
        of_spans, targets = (self._at(t, dtype=torch.int32) for t in spans.tables(CPU))
        return (of_spans, len(spans.sizes)), (targets, spans.num_conditions)

    def _like(self, tensor: Tensor, other: Tensor) -> int:
        return self._at(tensor, other.numel())

    def _each(self, tensor: Tensor) -> int:
        """Number of elements for each row of the unit."""
        return self._ratio(tensor.numel())

    def _ratio(self, count: int) -> int:
        if count % self._rows:
            raise ValueError(
                f"a call has {count} rows or elements, expected a multiple of the unit's {self._rows}"
            )
        return count // self._rows


def rows_of_entropy(spans: Spans) -> int:
    """Rows whose cross-entropies make a partial sum in :meth:`Tape.span_activations`."""
    return int(_cpu.rows_of_entropy(spans.width))


def _parts_of_entropy(rows: int, spans: Spans) -> int:
    return -(-rows // rows_of_entropy(spans))


def packed_size(columns: int, depth: int) -> int:
    """Number of elements of a packed operand, for a product of ``columns`` columns and depth ``depth``."""
    panel = 32
    return -(-columns // panel) * panel * depth


def replay(
    tapes: Sequence[Tape],
    order: list[int],
    least: int,
    threads: int,
    seconds: float,
    is_stopping: Callable[[], bool],
) -> int:
    """Run ``tapes[i]`` for each i of ``order``, without the GIL; return how many were run.

    Handlers of signals run meanwhile, about once a millisecond.

    Args:
        tapes: the tapes.
        order: indices of tapes.
        least: number of tapes to run in any case.
        threads: number of threads to run them.
        seconds: time after which no other tape begins.
        is_stopping: called now and then; no other tape begins once it returns True.
    """
    return int(_cpu.replay([tape._calls for tape in tapes], order, least, threads, seconds, is_stopping))
