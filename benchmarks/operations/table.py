"""All cases: operations and their sizes.

Layers run in bf16 only on a GPU, as few CPUs have instructions for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastgan
from benchmarks.machine import DEVICE
from benchmarks.operations.operation import DTYPES, Case, Operation, Work

SLOPE = 0.2
GAIN, BOUND = math.sqrt(2), 256.0  # of StyleGAN's layers
TAPS = fastgan.nn.kaiser_sinc_filter(12).to(DEVICE)
FILTER = fastgan.setup_filter([1, 3, 3, 1]).to(DEVICE)  # StyleGAN2's
# the output layer for a table with ten continuous columns and six discrete ones, and noise for its rows
SPANS = fastgan.Spans((1, 10) * 10 + (2, 3, 5, 9, 16, 42))
TEMPERATURE = 0.2
UNIFORM = torch.rand(8192, SPANS.width, generator=torch.Generator().manual_seed(2)).to(DEVICE)
_bce = nn.BCEWithLogitsLoss()


def discriminator_bce(real: Tensor, fake: Tensor) -> Tensor:
    loss: Tensor = _bce(real, torch.ones_like(real)) + _bce(fake, torch.zeros_like(fake))
    return loss


def discriminator_softplus(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_bce(fake: Tensor) -> Tensor:
    loss: Tensor = _bce(fake, torch.ones_like(fake))
    return loss


def generator_softplus(fake: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


def head_bce(real: Tensor, fake: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return discriminator_bce(F.linear(real, weight, bias), F.linear(fake, weight, bias))


def eager_bias(input: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(input + bias.view(-1, *[1] * (input.dim() - 2)), SLOPE)


def eager_bias_act(input: Tensor, bias: Tensor) -> Tensor:
    """As StyleGAN writes it, in half types too."""
    return (eager_bias(input, bias) * GAIN).clamp(-BOUND, BOUND)


def _bias_act(input: Tensor, bias: Tensor) -> Tensor:
    return fastgan.bias_act(input, bias, act="lrelu", clamp=BOUND)


def eager_batch_norm(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(F.batch_norm(input, None, None, weight, bias, training=True), SLOPE)


def _batch_norm(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return fastgan.batch_norm_leaky_relu(input, None, None, weight, bias, True, negative_slope=SLOPE)


def eager_snake(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """As BigVGAN writes it."""
    along = (1, -1, *[1] * (x.dim() - 2))
    return x + (1.0 / (beta.view(along) + 1e-9)) * torch.pow(torch.sin(x * alpha.view(along)), 2)


def eager_anti_aliased_snake(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    channels, taps = x.shape[1], TAPS.to(x).expand(x.shape[1], 1, -1)
    u = F.conv_transpose1d(F.pad(x, (5, 5), mode="replicate"), taps, stride=2, groups=channels)
    v = eager_snake(2 * u[..., 15:-15], alpha, beta)
    return F.conv1d(F.pad(v, (5, 6), mode="replicate"), taps, stride=2, groups=channels)


def _anti_aliased_snake(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    taps = TAPS.to(x)
    return fastgan.anti_aliased_snake(x, alpha, beta, taps, taps)


def eager_upsample2d(x: Tensor) -> Tensor:
    """As it is written without a custom operation: zeros, padding, a convolution of each channel."""
    samples, channels, height, width = x.shape
    x = F.pad(x.view(samples, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
    x = F.pad(x.reshape(samples, channels, 2 * height, 2 * width), (2, 1, 2, 1))
    return F.conv2d(x, (4 * FILTER).to(x).expand(channels, 1, 4, 4), groups=channels)


def eager_downsample2d(x: Tensor) -> Tensor:
    weight = FILTER.to(x).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (1, 1, 1, 1)), weight, stride=2, groups=x.shape[1])


def _upsample2d(x: Tensor) -> Tensor:
    return fastgan.upsample2d(x, FILTER)


def _downsample2d(x: Tensor) -> Tensor:
    return fastgan.downsample2d(x, FILTER)


def eager_span_activations(x: Tensor) -> Tensor:
    """A loop over spans, as CTGAN's generator has it; half types in float32, as the noise is."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    noise = UNIFORM[: len(x)].to(wide.dtype).clamp(min=2.0**-25)
    parts = []
    for own, uniform in zip(wide.split(SPANS.sizes, 1), noise.split(SPANS.sizes, 1), strict=True):
        if own.shape[1] == 1:
            parts.append(torch.tanh(own))
        else:
            parts.append(F.softmax((own - torch.log(-torch.log(uniform))) / TEMPERATURE, 1))
    return torch.cat(parts, 1).to(x.dtype)


def _span_activations(x: Tensor) -> Tensor:
    return fastgan.span_activations(x, SPANS, UNIFORM[: len(x)], temperature=TEMPERATURE)


def eager_linear(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(F.linear(input, weight, bias), SLOPE)


def eager_mlp(input: Tensor, *parameters: Tensor) -> Tensor:
    weights, biases = _halves(parameters)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        input = eager_linear(input, weight, bias)
    return F.linear(input, weights[-1], biases[-1])


def _mlp(input: Tensor, *parameters: Tensor) -> Tensor:
    return fastgan.mlp(input, *_halves(parameters))


def _halves(parameters: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    depth = len(parameters) // 2
    return parameters[:depth], parameters[depth:]


def _by_reference(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The operation in plain PyTorch."""
    return fastgan.use_backend("reference")(operation)


DISCRIMINATOR_LOSS = Operation(
    "discriminator_loss",
    _by_reference(fastgan.discriminator_loss),
    {"eager": discriminator_bce, "eager, softplus": discriminator_softplus},
    fastgan.discriminator_loss,
    "logits",
    has_products=False,
)
GENERATOR_LOSS = Operation(
    "generator_loss",
    _by_reference(fastgan.generator_loss),
    {"eager": generator_bce, "eager, softplus": generator_softplus},
    fastgan.generator_loss,
    "logits",
    has_products=False,
)
RECONSTRUCTION_LOSS = Operation(
    "reconstruction_loss",
    _by_reference(fastgan.reconstruction_loss),
    {"eager": F.l1_loss},
    fastgan.reconstruction_loss,
    "elements",
    has_products=False,
)
HEAD = Operation(
    "discriminator_head_loss",
    _by_reference(fastgan.discriminator_head_loss),
    {"eager": head_bce},
    fastgan.discriminator_head_loss,
    "features",
    has_products=True,
)
BIAS_LEAKY_RELU = Operation(
    "bias_leaky_relu",
    _by_reference(fastgan.bias_leaky_relu),
    {"eager": eager_bias},
    fastgan.bias_leaky_relu,
    "elements",
    has_products=False,
)
BIAS_ACT = Operation(
    "bias_act",
    _by_reference(_bias_act),
    {"eager": eager_bias_act},
    _bias_act,
    "elements",
    has_products=False,
)
BATCH_NORM_LEAKY_RELU = Operation(
    "batch_norm_leaky_relu",
    _by_reference(_batch_norm),
    {"eager": eager_batch_norm},
    _batch_norm,
    "elements",
    has_products=False,
)
SNAKE = Operation(
    "snake",
    _by_reference(fastgan.snake),
    {"eager": eager_snake},
    fastgan.snake,
    "elements",
    has_products=False,
)
ANTI_ALIASED_SNAKE = Operation(
    "anti_aliased_snake",
    _by_reference(_anti_aliased_snake),
    {"eager": eager_anti_aliased_snake},
    _anti_aliased_snake,
    "elements",
    has_products=False,
)
UPSAMPLE2D = Operation(
    "upsample2d",
    _by_reference(_upsample2d),
    {"eager": eager_upsample2d},
    _upsample2d,
    "elements",
    has_products=False,
)
DOWNSAMPLE2D = Operation(
    "downsample2d",
    _by_reference(_downsample2d),
    {"eager": eager_downsample2d},
    _downsample2d,
    "elements",
    has_products=False,
)
SPAN_ACTIVATIONS = Operation(
    "span_activations",
    _by_reference(_span_activations),
    {"eager": eager_span_activations},
    _span_activations,
    "elements",
    has_products=False,
)
LINEAR_LEAKY_RELU = Operation(
    "linear_leaky_relu",
    _by_reference(fastgan.linear_leaky_relu),
    {"eager": eager_linear},
    fastgan.linear_leaky_relu,
    "multiply-adds",
    has_products=True,
)
MLP = Operation("mlp", _by_reference(_mlp), {"eager": eager_mlp}, _mlp, "multiply-adds", has_products=True)


def loss(operation: Operation, size: int, dtype: str) -> Case:
    """Least work: forward reads the logits once, backward writes their gradients."""
    tensors = 1 if operation is GENERATOR_LOSS else 2
    label = f"2 × {size:,}" if tensors == 2 else f"{size:,}"
    each = tensors * size * DTYPES[dtype].itemsize
    return Case(operation, label, ((size, 1),) * tensors, dtype, tensors * size, Work(each), Work(each))


def head(rows: int, width: int, dtype: str) -> Case:
    """Least work: forward reads the features once, backward writes their gradients."""
    shapes = ((rows, width), (rows, width), (1, width), (1,))
    each = 2 * rows * width * DTYPES[dtype].itemsize
    label = f"2 × {rows:,} × {width:,}"
    return Case(HEAD, label, shapes, dtype, 2 * rows * width, Work(each), Work(each))


def with_bias(operation: Operation, shape: tuple[int, ...], dtype: str) -> Case:
    """Least work: forward reads and writes, backward reads gradient and output and writes."""
    elements = torch.Size(shape).numel()
    each = elements * DTYPES[dtype].itemsize
    label = " × ".join(f"{n:,}" for n in shape)
    return Case(operation, label, (shape, shape[1:2]), dtype, elements, Work(2 * each), Work(3 * each))


def with_two_numbers(operation: Operation, shape: tuple[int, ...], dtype: str) -> Case:
    """Batch norm or Snake, with two numbers for each channel.

    Least work: forward reads and writes, backward reads gradient and input and writes.
    """
    elements = torch.Size(shape).numel()
    each = elements * DTYPES[dtype].itemsize
    label, shapes = " × ".join(f"{n:,}" for n in shape), (shape, shape[1:2], shape[1:2])
    return Case(operation, label, shapes, dtype, elements, Work(2 * each), Work(3 * each))


def resampling(operation: Operation, shape: tuple[int, ...], dtype: str) -> Case:
    """Least work: both passes touch the small and the large images once."""
    elements = torch.Size(shape).numel()
    touched = elements * 5 if operation is UPSAMPLE2D else elements * 5 // 4
    work = Work(touched * DTYPES[dtype].itemsize)
    return Case(operation, " × ".join(f"{n:,}" for n in shape), (shape,), dtype, elements, work, work)


def span_activations(rows: int, dtype: str) -> Case:
    """Least work: forward reads input and noise and writes, backward reads gradient and output and writes."""
    shape = rows, SPANS.width
    elements = rows * SPANS.width
    size = DTYPES[dtype].itemsize
    forward, backward = Work((2 * size + 4) * elements), Work(3 * size * elements)
    return Case(SPAN_ACTIVATIONS, f"{rows:,} × {SPANS.width}", (shape,), dtype, elements, forward, backward)


def linear_leaky_relu(n: int, k: int, m: int, dtype: str) -> Case:
    shapes = ((n, k), (m, k), (m,))
    forward, backward = _layer_work(n, k, m, dtype)
    return Case(LINEAR_LEAKY_RELU, f"{n:,} × {k:,} → {m:,}", shapes, dtype, n * k * m, forward, backward)


def mlp(n: int, features: tuple[int, ...], dtype: str) -> Case:
    layers = list(pairwise(features))
    shapes = ((n, features[0]), *((m, k) for k, m in layers), *((m,) for _, m in layers))
    work = [_layer_work(n, k, m, dtype) for k, m in layers]
    forward, backward = (sum(each, Work(0)) for each in zip(*work, strict=True))
    label = f"{n:,} × ({', '.join(map(str, features))})"
    return Case(MLP, label, shapes, dtype, sum(n * k * m for k, m in layers), forward, backward)


def _layer_work(n: int, k: int, m: int, dtype: str) -> tuple[Work, Work]:
    """One layer's work: forward touches input, weight and output, backward also their gradients."""
    touched = (n * k + k * m + n * m) * DTYPES[dtype].itemsize
    return Work(touched, 2 * n * k * m), Work(2 * touched, 4 * n * k * m)


class Sizes(NamedTuple):
    loss_dtypes: tuple[str, ...]
    loss_powers: tuple[int, ...]  # log2 of the number of logits
    layer_dtypes: tuple[str, ...]
    heads: tuple[tuple[int, int], ...]  # rows, width
    biases: tuple[tuple[int, ...], ...]
    norms: tuple[tuple[int, ...], ...]
    snakes: tuple[tuple[int, ...], ...]
    images: tuple[tuple[int, ...], ...]
    tables: tuple[int, ...]  # rows
    linears: tuple[tuple[int, int, int], ...]  # rows, input and output features
    mlps: tuple[tuple[int, tuple[int, ...]], ...]  # rows, features of each layer


def _images(*hidden: int) -> tuple[int, ...]:
    return (784, *hidden, 1)


QUICK = Sizes(
    loss_dtypes=("fp32",),
    loss_powers=(7, 12, 20),
    layer_dtypes=("fp32",),
    heads=((128, 256), (1024, 1024)),
    biases=((128, 256), (64, 64, 16, 16)),
    norms=((128, 256), (64, 64, 16, 16)),
    snakes=((2, 64, 1024), (2, 24, 8192)),
    images=((4, 32, 32, 32),),
    tables=(500,),
    linears=((64, 2, 128), (128, 784, 256)),
    mlps=((64, _images(64, 64)), (256, _images(256, 256))),
)
CPU = Sizes(
    loss_dtypes=("fp32", "bf16"),
    loss_powers=(7, 12, 16, 20, 24),
    layer_dtypes=("fp32",),
    heads=((128, 256), (1024, 1024), (16384, 1024)),
    biases=((128, 256), (64, 64, 16, 16), (8192, 1024)),
    norms=((128, 256), (64, 64, 16, 16), (32, 64, 32, 32)),
    snakes=((4, 768, 256), (4, 192, 4096), (4, 24, 32768)),
    images=((8, 512, 16, 16), (8, 64, 64, 64), (8, 3, 256, 256)),
    tables=(500, 8192),
    linears=((64, 2, 128), (256, 256, 256), (128, 784, 256), (8192, 256, 256), (1024, 1024, 1024)),
    mlps=(
        (64, _images(64, 64)),
        (256, (2, 128, 128, 1)),
        (256, _images(256, 256)),
        (64, _images(1024, 1024)),
        (8192, _images(64, 64)),
        (64, _images(4096, 4096)),
        (8192, _images(256, 256)),
        (1024, _images(1024, 1024)),
    ),
)
GPU = CPU._replace(
    loss_powers=(*CPU.loss_powers, 26),
    layer_dtypes=("fp32", "bf16"),
    linears=(*CPU.linears, (8192, 4096, 4096)),
    mlps=(*CPU.mlps, (8192, _images(1024, 1024)), (8192, _images(4096, 4096))),
)


def cases(sizes: Sizes) -> Iterator[Case]:
    for operation in (DISCRIMINATOR_LOSS, GENERATOR_LOSS, RECONSTRUCTION_LOSS):
        for dtype in sizes.loss_dtypes:
            yield from (loss(operation, 2**power, dtype) for power in sizes.loss_powers)
    for dtype in sizes.layer_dtypes:
        yield from (head(rows, width, dtype) for rows, width in sizes.heads)
        for operation in (BIAS_LEAKY_RELU, BIAS_ACT):
            yield from (with_bias(operation, shape, dtype) for shape in sizes.biases)
        yield from (with_two_numbers(BATCH_NORM_LEAKY_RELU, shape, dtype) for shape in sizes.norms)
        for operation in (SNAKE, ANTI_ALIASED_SNAKE):
            yield from (with_two_numbers(operation, shape, dtype) for shape in sizes.snakes)
        for operation in (UPSAMPLE2D, DOWNSAMPLE2D):
            yield from (resampling(operation, shape, dtype) for shape in sizes.images)
        yield from (span_activations(rows, dtype) for rows in sizes.tables)
        yield from (linear_leaky_relu(n, k, m, dtype) for n, k, m in sizes.linears)
        yield from (mlp(rows, features, dtype) for rows, features in sizes.mlps)


def tiny() -> list[Case]:
    """Cases so small that only the overhead of a call counts."""
    return [
        loss(DISCRIMINATOR_LOSS, 16, "fp32"),
        loss(GENERATOR_LOSS, 16, "fp32"),
        loss(RECONSTRUCTION_LOSS, 16, "fp32"),
        head(8, 16, "fp32"),
        with_bias(BIAS_LEAKY_RELU, (8, 16), "fp32"),
        with_bias(BIAS_ACT, (8, 16), "fp32"),
        with_two_numbers(BATCH_NORM_LEAKY_RELU, (8, 16), "fp32"),
        with_two_numbers(SNAKE, (1, 4, 16), "fp32"),
        with_two_numbers(ANTI_ALIASED_SNAKE, (1, 4, 16), "fp32"),
        resampling(UPSAMPLE2D, (1, 4, 4, 4), "fp32"),
        resampling(DOWNSAMPLE2D, (1, 4, 4, 4), "fp32"),
        span_activations(4, "fp32"),
        linear_leaky_relu(8, 16, 16, "fp32"),
        mlp(8, (16, 16, 16, 1), "fp32"),
    ]
