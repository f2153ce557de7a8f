"""Calls that together launch every kernel, with the arguments that training uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from fastgan.kernels.acts import FORMS, Act, leaky
from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.matrices import Matrices
from fastgan.kernels.reference_snake import Scale
from fastgan.kernels.reference_upfirdn import Resampling
from fastgan.kernels.spans import Spans, Table
from fastgan.kernels.triton import Triton, tuning
from fastgan.kernels.triton.batch_norm import gradient_sums, input_gradient
from fastgan.kernels.triton.launch import KERNELS, Kernel
from fastgan.kernels.triton.snake import anti_aliased_backward_sums, backward_sums, grads_of_numbers
from fastgan.kernels.triton.spectral_norm import divide_all, inner_products, multiply_all, weight_gradients

backend = Triton()
HALVES = (torch.bfloat16, torch.float16)
ALL = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Case:
    """A call that compiles one kernel for each dtype and tile."""

    name: str
    call: Callable[[torch.dtype], object]
    dtypes: tuple[torch.dtype, ...] = ALL
    streams: bool = True  # reads contiguous memory, 16 bytes at a time
    multiplies: bool = False


def _empty(*shape: int) -> Callable[[torch.dtype], torch.Tensor]:
    return lambda dtype: torch.empty(shape, dtype=dtype)


_logits, _few, _scalar = _empty(1 << 20), _empty(1000), _empty()
_matrix, _images = _empty(4096, 512), _empty(64, 128, 32, 32)
_signals = _empty(16, 64, 8192)
_LEAKY = leaky(0.2)
_ROWS, _PLANES = (4096, 512, 1), (64, 128, 1024)


def _pair(dtype: torch.dtype, count: int = 2) -> tuple[torch.Tensor, ...]:
    return (_logits(dtype),) * count


_Pairs = tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...], tuple[float, ...]]


def _pairs(dtype: torch.dtype, count: int) -> _Pairs:
    return _pair(dtype, count), _pair(dtype, count), (1.0,) * count


def _spec(loss: str = "bce", count: int = 2, real_label: float = 1.0) -> LossSpec:
    return LossSpec(loss, (real_label, 0.0) * (count // 2), (1.0,) * count, True)


def _heads(dtype: torch.dtype, width: int) -> tuple[torch.Tensor, ...]:
    return torch.empty(4096, width, dtype=dtype), torch.empty(4096, width, dtype=dtype)


def _head(width: int) -> Callable[[torch.dtype], object]:
    def call(dtype: torch.dtype) -> object:
        weight, bias = torch.empty(width, dtype=dtype), torch.empty(1, dtype=dtype)
        return backend.head_loss(_heads(dtype, width), weight, bias, _spec(), dtype, True, True)

    return call


def _head_backward(dtype: torch.dtype) -> object:
    compute = torch.float64 if dtype is torch.float64 else torch.float32
    slopes, weight = (torch.empty(4096, dtype=compute),) * 2, torch.empty(512, dtype=dtype)
    dw, db = torch.empty(512, dtype=compute), torch.empty(1, dtype=compute)
    return backend.head_loss_backward(torch.empty((), dtype=dtype), slopes, weight, dw, db, (True,) * 3)


def _product(kind: str, n: int, k: int, m: int) -> Callable[[torch.dtype], object]:
    def call(dtype: torch.dtype) -> object:
        x, w, y = (torch.empty(shape, dtype=dtype) for shape in ((n, k), (m, k), (n, m)))
        if kind == "forward":
            return backend.linear_leaky_relu(x, w, w[:, 0].contiguous(), _LEAKY)
        if kind == "linear":
            return backend.linear(x, w, None)
        if kind == "dgrad":
            return backend.dgrad_leaky_relu(y, w, x, 0.2, True)
        if kind == "dgrad, no mask":
            return backend.dgrad(y, w)
        return backend.wgrad(y, x)

    return call


def _in_tf32(call: Callable[[torch.dtype], object]) -> Callable[[torch.dtype], object]:
    def allowed(dtype: torch.dtype) -> object:
        matmul = torch.backends.cuda.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
        try:
            return call(dtype)
        finally:
            matmul.fp32_precision = before

    return allowed


def _adam(dtype: torch.dtype, weight_decay: float = 0.0) -> object:
    flat, number = _empty(1 << 20)(dtype), torch.empty(())
    halves = flat.bfloat16() if dtype is torch.float32 else None
    count, rate, weight = number, number, number
    return backend.adam(
        flat, flat, flat, flat, count, True, rate, (0.5, 0.999), 1e-8, weight_decay, flat, weight, halves
    )


def _channels(input: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    return (torch.empty(input.shape[1], dtype=input.dtype),) * count


def _statistics(input: torch.Tensor) -> object:
    return backend.batch_norm_statistics(input, *_channels(input, 2), 0.1)


def _batch_norm(input: torch.Tensor, into: torch.Tensor | None = None) -> object:
    return backend.batch_norm_leaky_relu(input, *_channels(input, 4), 1e-5, 0.2, into)


def _apart(dtype: torch.dtype) -> torch.Tensor:
    """A matrix next to other columns."""
    return torch.empty(4096, 640, dtype=dtype)[:, :512]


def _averages(input: torch.Tensor) -> torch.Tensor:
    compute = torch.float64 if input.dtype is torch.float64 else torch.float32
    return torch.empty(2, input.shape[1], dtype=compute)


def _gradient_sums(
    input: torch.Tensor, layout: tuple[int, int, int], grad: torch.Tensor | None = None
) -> object:
    """The first of the two launches of a backward pass in training."""
    channels = _channels(input, 6)
    tensors = input if grad is None else grad, input, *channels[:4], None, *channels[4:], _averages(input)
    return gradient_sums(tensors, layout, 1e-5, 0.2)


def _input_gradient(
    input: torch.Tensor, layout: tuple[int, int, int], grad: torch.Tensor | None = None
) -> object:
    """The second one."""
    first = input if grad is None else grad
    tensors = first, input, *_channels(input, 4), _averages(input), input
    return input_gradient(tensors, layout, 1e-5, 0.2)


def _batch_norm_backward(input: torch.Tensor) -> object:
    """In evaluation."""
    call = *_channels(input, 4), 1e-5, 0.2, False, (True, True, True)
    return backend.batch_norm_leaky_relu_backward(input, input, *call)


_LOGARITHMS = Scale(True, 1e-9)


def _snake(input: torch.Tensor) -> object:
    return backend.snake(input, *_channels(input, 2), _LOGARITHMS)


def _snake_backward(input: torch.Tensor, layout: tuple[int, int, int]) -> object:
    """The first of the two launches of a backward pass."""
    return backward_sums((input, input, *_channels(input, 2), input), layout, _LOGARITHMS, True)


def _snake_numbers(dtype: torch.dtype) -> object:
    """The second one."""
    compute = torch.float64 if dtype is torch.float64 else torch.float32
    numbers = (torch.empty(64, dtype=dtype),) * 2
    return grads_of_numbers(torch.empty(2, 64 * 1024, dtype=compute), numbers, _LOGARITHMS, (True,) * 3)


def _anti_aliased_snake(dtype: torch.dtype) -> object:
    input, taps = _signals(dtype), torch.empty(12, dtype=dtype)
    return backend.anti_aliased_snake(input, *_channels(input, 2), taps, taps, _LOGARITHMS)


def _anti_aliased_snake_backward(dtype: torch.dtype) -> object:
    """The first of the two launches of a backward pass."""
    input, taps = _signals(dtype), torch.empty(12, dtype=dtype)
    tensors = input, input, *_channels(input, 2), taps, taps, input
    return anti_aliased_backward_sums(tensors, False, _LOGARITHMS, True)


def _upfirdn2d(
    up: int, down: int, *taps: int, channels_last: bool = False
) -> Callable[[torch.dtype], object]:
    pad = taps[0] // 2
    resampling = Resampling((up, up), (down, down), (pad, pad - 1, pad, pad - 1), False, 4.0)

    def call(dtype: torch.dtype) -> object:
        images = _images(dtype)
        if channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        filter = torch.empty(taps, dtype=torch.promote_types(dtype, torch.float32))
        return backend.upfirdn2d(images, filter, resampling)

    return call


def _draw(_: torch.dtype) -> object:
    clock = torch.zeros(1, dtype=torch.int64)
    integers, numbers = torch.empty(256, dtype=torch.int64), torch.empty(1 << 14)
    return backend.draw(integers, numbers, numbers, (0, 0, 0), 1_000, 0, clock)


def _record(_: torch.dtype) -> object:
    row = torch.zeros(1, dtype=torch.int64)
    scalars = [torch.empty(()) for _ in range(7)]
    return backend.record(torch.empty(100, 7), row, scalars, torch.empty(101, 5), torch.empty(5), row)


# Of a table with ten continuous columns and four discrete ones.
_SPANS = Spans((*(1, 10) * 10, 2, 12, 40, 600), (20, 21, 22, 23))
_FULL = (torch.float32, torch.float64)


def _span_activations(dtype: torch.dtype, with_conditions: bool) -> object:
    input, noise = torch.empty(500, _SPANS.width, dtype=dtype), torch.empty(500, _SPANS.width)
    conditions = torch.zeros(500, dtype=torch.int64) if with_conditions else None
    return backend.span_activations(input, _SPANS, noise, 0.2, conditions)


def _span_activations_backward(dtype: torch.dtype, with_conditions: bool) -> object:
    output = torch.empty(500, _SPANS.width, dtype=dtype)
    if not with_conditions:
        return backend.span_activations_backward(output, None, None, output, _SPANS, 0.2, None)
    grad = torch.empty((), dtype=torch.promote_types(dtype, torch.float32))
    conditions = torch.zeros(500, dtype=torch.int64)
    return backend.span_activations_backward(output, grad, output, output, _SPANS, 0.2, conditions)


def _table_batch(dtype: torch.dtype, with_conditions: bool) -> object:
    rows, batch = 5000, 500
    codes = torch.empty(rows, _SPANS.num_codes, dtype=torch.int32)
    order = torch.empty(rows * len(_SPANS.conditions), dtype=torch.int32)
    starts = torch.empty(_SPANS.num_conditions + 1, dtype=torch.int64)
    table = Table(_SPANS, codes, torch.empty(rows, _SPANS.num_values), order, starts)
    conditions = torch.zeros(batch, dtype=torch.int64) if with_conditions else None
    width = _SPANS.width + (_SPANS.num_conditions if with_conditions else 0)
    return backend.table_batch(table, conditions, torch.empty(batch), torch.empty(batch, width, dtype=dtype))


def _draw_conditions(_: torch.dtype) -> object:
    return backend.draw_conditions(torch.empty(500), torch.empty(654, dtype=torch.float64))


# Of a discriminator with 4 x 4 kernels.
_MATRICES = ((64, 48), (128, 1024), (256, 2048), (512, 4096), (1, 8192))


def _matrices(dtype: torch.dtype) -> Matrices:
    weights = [torch.empty(size, dtype=dtype) for size in _MATRICES]
    u, v = ([torch.empty(size[side], dtype=dtype) for size in _MATRICES] for side in (0, 1))
    return Matrices(weights, u, v)


def _sigma(dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(len(_MATRICES), dtype=torch.promote_types(dtype, torch.float32))


def _sums(dtype: torch.dtype, side: int, with_sigma: bool, eps: float | None) -> object:
    m = _matrices(dtype)
    factors, vectors = (m.u, m.v) if side else (m.v, m.u)
    return multiply_all(m, slice(None), side, factors, vectors, _sigma(dtype) if with_sigma else None, eps)


def _quotients(dtype: torch.dtype) -> object:
    m = _matrices(dtype)
    return divide_all(m, slice(None), m.w, _sigma(dtype))


def _inner_products(dtype: torch.dtype) -> object:
    m = _matrices(dtype)
    return inner_products(m, slice(None), m.w)


def _weight_gradients(dtype: torch.dtype) -> object:
    m = _matrices(dtype)
    ends = range(1, len(m) + 1)
    return weight_gradients(m, slice(None), m.w, m.w, _sigma(dtype), _sigma(dtype), ends)


def _activation(kind: str, act: Act) -> Callable[[torch.dtype], object]:
    def call(dtype: torch.dtype) -> object:
        matrix, images, bias = _matrix(dtype), _images(dtype), _empty(512)(dtype)
        if kind == "forward":
            return backend.bias_act(matrix, bias, act, 1)
        if kind == "backward":
            return backend.bias_act_backward(images, images, bias[:128].clone(), act, 1, True)
        return backend.bias_act_curvature(matrix, matrix, matrix, bias, act, 1, True)

    return call


def _acts() -> Iterator[Case]:
    for form in FORMS:
        if form == "leaky":
            continue
        act = Act(form, 1.0, 1.0, 256.0)
        yield Case(f"bias + {form}, rows", _activation("forward", act))
        yield Case(f"bias + {form} backward, planes", _activation("backward", act))
        yield Case(f"bias + {form} second derivative, rows", _activation("second derivative", act))


_SIZES = {"small": (128, 256, 256), "large": (2048, 1024, 1024)}


def _products() -> Iterator[Case]:
    dtypes = (*HALVES, torch.float32)
    for kind in ("forward", "dgrad", "dgrad, no mask", "wgrad"):
        for name, size in _SIZES.items():
            product = _product(kind, *size)
            yield Case(f"{kind}, {name}", product, dtypes, multiplies=True)
            yield Case(f"{kind}, {name}, TF32", _in_tf32(product), (torch.float32,))
    yield Case("forward, no activation, small", _product("linear", *_SIZES["small"]), dtypes, multiplies=True)
    yield Case("wgrad, tall", _product("wgrad", 65536, 256, 256), dtypes, multiplies=True)
    yield Case("forward, 16 rows", _product("forward", 16, 256, 256), dtypes, multiplies=True)


CASES = [
    Case("discriminator loss, detailed", lambda d: backend.loss(_pair(d), _spec(), d, True)),
    Case("discriminator loss", lambda d: backend.loss(_pair(d), _spec(), d)),
    Case(
        "discriminator loss, smoothed label",
        lambda d: backend.loss(_pair(d), _spec(real_label=0.9), d, True),
    ),
    Case("discriminator loss, one program", lambda d: backend.loss((_few(d), _few(d)), _spec(), d, True)),
    Case("discriminator loss backward", lambda d: backend.loss_backward(_scalar(d), _pair(d), _spec())),
    Case("discriminator loss, gradient kept", lambda d: backend.loss(_pair(d), _spec(), d, keep_grads=True)),
    Case(
        "discriminator loss backward, gradient kept",
        lambda d: backend.loss_backward(_scalar(d), _pair(d), _spec(), _pair(d)),
    ),
    Case("discriminator loss and gradient", lambda d: backend.loss_and_grad(_pair(d), _spec(), None, d)),
    Case(
        "loss of ten tensors and gradient",
        lambda d: backend.loss_and_grad(_pair(d, 10), _spec(count=10), None, d),
    ),
    Case(
        "loss of ten tensors backward",
        lambda d: backend.loss_backward(_scalar(d), _pair(d, 10), _spec(count=10)),
    ),
    Case("hinge loss, detailed", lambda d: backend.loss(_pair(d), _spec("hinge"), d, True)),
    Case(
        "least-squares loss and gradient",
        lambda d: backend.loss_and_grad(_pair(d), _spec("least-squares"), None, d),
    ),
    Case("hinge loss backward", lambda d: backend.loss_backward(_scalar(d), _pair(d), _spec("hinge"))),
    Case(
        "Wasserstein loss and gradient",
        lambda d: backend.loss_and_grad(_pair(d), _spec("wasserstein"), None, d),
    ),
    Case(
        "discriminator head",
        _head(512),
    ),
    Case(
        "discriminator head, 4096 features",
        _head(4096),
    ),
    Case(
        "discriminator head and gradient",
        lambda d: backend.head_loss_and_grad(_heads(d, 512), _empty(512)(d), _empty(1)(d), _spec(), None, d),
    ),
    Case("discriminator head backward", _head_backward, streams=False),
    Case(
        "generator loss",
        lambda d: backend.loss((_logits(d),), LossSpec("bce", (1.0,), (1.0,), True), d, True),
    ),
    Case("loss terms", lambda d: backend.loss_terms(_logits(d), "bce", 1.0, 1.0), streams=False),
    Case("hinge loss terms", lambda d: backend.loss_terms(_logits(d), "hinge", 1.0, 1.0), streams=False),
    Case(
        "loss terms backward",
        lambda d: backend.loss_terms_backward(_logits(d), _logits(d), "bce", 1.0, 1.0),
    ),
    Case("L1 loss", lambda d: backend.l1_loss(*_pairs(d, 1), True, d)),
    Case("L1 loss of 54 pairs", lambda d: backend.l1_loss(*_pairs(d, 54), True, d)),
    Case(
        "L1 loss, one program",
        lambda d: backend.l1_loss((_few(d),), (_few(d),), (1.0,), True, d),
    ),
    Case(
        "L1 loss and gradient",
        lambda d: backend.l1_loss_and_grad(*_pairs(d, 1), True, None, d, (False, True)),
    ),
    Case(
        "L1 loss and both gradients",
        lambda d: backend.l1_loss_and_grad(*_pairs(d, 1), True, None, d, (True, True)),
    ),
    Case("L1 terms", lambda d: backend.l1_terms(_logits(d), _logits(d))),
    Case(
        "L1 loss backward, 54 pairs",
        lambda d: backend.l1_loss_backward(_scalar(d), *_pairs(d, 54), True, (False, True)),
    ),
    Case(
        "L1 terms backward",
        lambda d: backend.l1_terms_backward(_logits(d), _logits(d), _logits(d), (True, True)),
    ),
    Case("bias + leaky ReLU, rows", lambda d: backend.bias_act(_matrix(d), _empty(512)(d), _LEAKY, 1)),
    Case("bias + leaky ReLU, planes", lambda d: backend.bias_act(_images(d), _empty(128)(d), _LEAKY, 1)),
    Case(
        "bias + leaky ReLU backward, rows",
        lambda d: backend.bias_act_backward(_matrix(d), _matrix(d), None, _LEAKY, 1, True),
    ),
    Case(
        "bias + leaky ReLU backward, planes",
        lambda d: backend.bias_act_backward(_images(d), _images(d), None, _LEAKY, 1, True),
    ),
    Case(
        "leaky ReLU backward, no bias",
        lambda d: backend.bias_act_backward(_matrix(d), _matrix(d), None, _LEAKY, 1, False),
    ),
    *_acts(),
    Case("spectral norm, products of rows", lambda d: _sums(d, 0, False, 1e-12)),
    Case("spectral norm, products of columns", lambda d: _sums(d, 1, True, 1e-12)),
    Case("spectral norm, evaluation", lambda d: _sums(d, 0, True, None)),
    Case("spectral norm, division", _quotients),
    Case("spectral norm backward, inner products", _inner_products),
    Case("spectral norm backward", _weight_gradients),
    Case("batch norm, statistics, rows", lambda d: _statistics(_matrix(d))),
    Case("batch norm, statistics, planes", lambda d: _statistics(_images(d))),
    Case("batch norm + leaky ReLU, rows", lambda d: _batch_norm(_matrix(d))),
    Case("batch norm + leaky ReLU, rows apart", lambda d: _batch_norm(_matrix(d), _apart(d))),
    Case("batch norm + leaky ReLU, planes", lambda d: _batch_norm(_images(d))),
    Case("batch norm + leaky ReLU backward, sums, rows", lambda d: _gradient_sums(_matrix(d), _ROWS)),
    Case(
        "batch norm + leaky ReLU backward, sums, rows apart",
        lambda d: _gradient_sums(_matrix(d), _ROWS, _apart(d)),
    ),
    Case("batch norm + leaky ReLU backward, sums, planes", lambda d: _gradient_sums(_images(d), _PLANES)),
    Case("batch norm + leaky ReLU backward, rows", lambda d: _input_gradient(_matrix(d), _ROWS)),
    Case(
        "batch norm + leaky ReLU backward, rows apart",
        lambda d: _input_gradient(_matrix(d), _ROWS, _apart(d)),
    ),
    Case("batch norm + leaky ReLU backward, planes", lambda d: _input_gradient(_images(d), _PLANES)),
    Case("batch norm + leaky ReLU backward, rows, evaluation", lambda d: _batch_norm_backward(_matrix(d))),
    Case("batch norm + leaky ReLU backward, planes, evaluation", lambda d: _batch_norm_backward(_images(d))),
    Case("Snake, rows", lambda d: _snake(_matrix(d))),
    Case("Snake, planes", lambda d: _snake(_signals(d))),
    Case("Snake backward, rows", lambda d: _snake_backward(_matrix(d), _ROWS)),
    Case("Snake backward, planes", lambda d: _snake_backward(_images(d), _PLANES)),
    Case("Snake backward, alpha and beta", _snake_numbers, streams=False),
    Case("anti-aliased Snake", _anti_aliased_snake),
    Case("anti-aliased Snake backward", _anti_aliased_snake_backward),
    Case("upfirdn2d, up", _upfirdn2d(2, 1, 4, 4)),
    Case("upfirdn2d, up, channels last", _upfirdn2d(2, 1, 4, 4, channels_last=True)),
    Case("upfirdn2d, down", _upfirdn2d(1, 2, 4, 4)),
    Case("upfirdn2d, down, channels last", _upfirdn2d(1, 2, 4, 4, channels_last=True)),
    Case("upfirdn2d, blur", _upfirdn2d(1, 1, 4, 4)),
    Case("upfirdn2d, blur, channels last", _upfirdn2d(1, 1, 4, 4, channels_last=True)),
    Case("upfirdn2d, up, 12 taps", _upfirdn2d(2, 1, 12)),
    Case("upfirdn2d, up, 12 taps, channels last", _upfirdn2d(2, 1, 12, channels_last=True)),
    Case("upfirdn2d, down, 12 taps", _upfirdn2d(1, 2, 12)),
    Case("upfirdn2d, down, 12 taps, channels last", _upfirdn2d(1, 2, 12, channels_last=True)),
    Case("upfirdn2d, other factors", _upfirdn2d(4, 3, 8, 8), streams=False),
    Case("upfirdn2d, other factors, channels last", _upfirdn2d(4, 3, 8, 8, channels_last=True)),
    Case("Adam with average", _adam),
    Case("Adam with weight decay", lambda d: _adam(d, 1e-6)),
    Case("activations of spans", lambda d: _span_activations(d, False), streams=False),
    Case("activations of spans and cross-entropy", lambda d: _span_activations(d, True), streams=False),
    Case("activations of spans backward", lambda d: _span_activations_backward(d, False), streams=False),
    Case(
        "activations of spans and cross-entropy backward",
        lambda d: _span_activations_backward(d, True),
        streams=False,
    ),
    Case("batch of a table", lambda d: _table_batch(d, False), (torch.float32,), streams=False),
    Case("batch of a table, conditions", lambda d: _table_batch(d, True), _FULL, streams=False),
    Case("draws of conditions", _draw_conditions, (torch.float32,), streams=False),
    Case("draws of a step", _draw, (torch.float32,), streams=False),
    Case("end of a step", _record, (torch.float32,), streams=False),
    *_products(),
]


def kernels_of(case: Case, dtype: torch.dtype, every_candidate: bool) -> Iterator[tuple[str, Kernel, Any]]:
    """Tile, kernel and cache key of everything that the call compiles and no earlier call did.

    Args:
        every_candidate: compile a product with every tile that tuning may choose, not only the default.
    """
    candidates, seen = tuning.candidates, {id(kernel): set(kernel.compiled) for kernel in KERNELS}
    offered: list[tuning.Config] = []
    choice = 0

    def one(*arguments: Any) -> list[tuning.Config]:
        offered[:] = candidates(*arguments)
        return [offered[choice]]

    tuning.candidates = one
    try:
        while choice == 0 or (every_candidate and choice < len(offered)):
            tuning._chosen.clear()
            case.call(dtype)
            tile = " x ".join(map(str, offered[choice][:3])) if offered else ""
            for kernel in KERNELS:
                before = seen.setdefault(id(kernel), set())  # kernels for a new number of tensors
                for key in set(kernel.compiled) - before:
                    before.add(key)
                    yield tile, kernel, key
            choice += 1
    finally:
        tuning.candidates = candidates
