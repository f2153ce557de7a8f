"""The operations under jax.jit."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from benchmarks.contest import Sample, timed
from benchmarks.operations.operation import Direction
from benchmarks.operations.table import BOUND, FILTER, GAIN, SLOPE, SPANS, TAPS, TEMPERATURE, UNIFORM

jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, as in PyTorch


def _discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()


def _generator_loss(fake: jax.Array) -> jax.Array:
    return jax.nn.softplus(-fake).mean()


def _reconstruction_loss(input: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """The gradient at a tie is 0, as in PyTorch; that of ``jnp.abs`` is 1."""
    difference = input - reconstruction
    return (difference * jax.lax.stop_gradient(jnp.sign(difference))).mean()


def _head(real: jax.Array, fake: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    return _discriminator_loss(real @ weight.T + bias, fake @ weight.T + bias)


def _bias_leaky_relu(input: jax.Array, bias: jax.Array) -> jax.Array:
    return jax.nn.leaky_relu(input + bias.reshape(-1, *[1] * (input.ndim - 2)), SLOPE)


def _bias_act(input: jax.Array, bias: jax.Array) -> jax.Array:
    return jnp.clip(GAIN * _bias_leaky_relu(input, bias), -BOUND, BOUND)


def _batch_norm_leaky_relu(input: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    axes, along = [i for i in range(input.ndim) if i != 1], (-1, *[1] * (input.ndim - 2))
    centered = input - input.mean(axes, keepdims=True)
    factor = weight.reshape(along) * jax.lax.rsqrt(jnp.square(centered).mean(axes, keepdims=True) + 1e-5)
    return jax.nn.leaky_relu(centered * factor + bias.reshape(along), SLOPE)


def _snake(x: jax.Array, alpha: jax.Array, beta: jax.Array) -> jax.Array:
    along = (-1, *[1] * (x.ndim - 2))
    return x + jnp.square(jnp.sin(x * alpha.reshape(along))) / (beta.reshape(along) + 1e-9)


def _anti_aliased_snake(x: jax.Array, alpha: jax.Array, beta: jax.Array) -> jax.Array:
    taps = jnp.asarray(TAPS.cpu().numpy()).astype(x.dtype).reshape(1, 1, -1)

    def filtered(x: jax.Array, right: int, **options: Any) -> jax.Array:
        padded = jnp.pad(x, ((0, 0), (0, 0), (5, right)), mode="edge")
        rows = padded.reshape(-1, 1, padded.shape[-1])
        return jax.lax.conv_general_dilated(rows, taps, **options).reshape(*x.shape[:2], -1)

    # a transposed convolution: zeros between the samples, and the filter reversed, which is symmetric
    u = 2 * filtered(x, 5, window_strides=(1,), padding=((-4, -4),), lhs_dilation=(2,))
    return filtered(_snake(u, alpha, beta), 6, window_strides=(2,), padding="VALID")


def _resampled(x: jax.Array, gain: float, **options: Any) -> jax.Array:
    """Each image of each channel, with StyleGAN2's filter, which is symmetric."""
    weight = jnp.asarray(gain * FILTER.cpu().numpy()).astype(x.dtype).reshape(1, 1, 4, 4)
    images = jax.lax.conv_general_dilated(x.reshape(-1, 1, *x.shape[2:]), weight, **options)
    return images.reshape(*x.shape[:2], *images.shape[2:])


def _upsample2d(x: jax.Array) -> jax.Array:
    return _resampled(x, 4.0, window_strides=(1, 1), padding=((2, 2), (2, 2)), lhs_dilation=(2, 2))


def _downsample2d(x: jax.Array) -> jax.Array:
    return _resampled(x, 1.0, window_strides=(2, 2), padding=((1, 1), (1, 1)))


def _span_activations(x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    noise = jnp.maximum(jnp.asarray(UNIFORM[: len(x)].cpu().numpy()), 2.0**-25)
    ends = [*accumulate(SPANS.sizes)][:-1]
    parts = [
        jnp.tanh(own)
        if own.shape[1] == 1
        else jax.nn.softmax((own - jnp.log(-jnp.log(uniform))) / TEMPERATURE, 1)
        for own, uniform in zip(jnp.split(wide, ends, 1), jnp.split(noise, ends, 1), strict=True)
    ]
    return jnp.concatenate(parts, 1).astype(x.dtype)


def _linear_leaky_relu(input: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    return jax.nn.leaky_relu(input @ weight.T + bias, SLOPE)


def _mlp(input: jax.Array, *parameters: jax.Array) -> jax.Array:
    depth = len(parameters) // 2
    weights, biases = parameters[:depth], parameters[depth:]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        input = _linear_leaky_relu(input, weight, bias)
    return input @ weights[-1].T + biases[-1]


FUNCTIONS: dict[str, Callable[..., jax.Array]] = {
    "discriminator_loss": _discriminator_loss,
    "generator_loss": _generator_loss,
    "reconstruction_loss": _reconstruction_loss,
    "discriminator_head_loss": _head,
    "bias_leaky_relu": _bias_leaky_relu,
    "bias_act": _bias_act,
    "batch_norm_leaky_relu": _batch_norm_leaky_relu,
    "snake": _snake,
    "anti_aliased_snake": _anti_aliased_snake,
    "upsample2d": _upsample2d,
    "downsample2d": _downsample2d,
    "span_activations": _span_activations,
    "linear_leaky_relu": _linear_leaky_relu,
    "mlp": _mlp,
}


class InJax:
    def __init__(self, name: str, inputs: list[Tensor], grad: Tensor) -> None:
        function = FUNCTIONS[name]

        def both(grad: jax.Array, *inputs: jax.Array) -> Any:
            output, back = jax.vjp(function, *inputs)
            return output, back(grad)

        self.inputs, self.grad = [_to_jax(t) for t in inputs], _to_jax(grad)
        self.call = jax.jit(function)
        self.forward = jax.jit(lambda *inputs: jax.vjp(function, *inputs))
        self.backward = jax.jit(lambda back, grad: back(grad))
        self.both = jax.jit(both)

    def results(self) -> list[Tensor]:
        output, gradients = self.both(self.grad, *self.inputs)
        return [torch.from_numpy(np.array(a, np.float32)) for a in (output, *gradients)]

    def sample(self, direction: Direction) -> Sample:
        if direction is Direction.BACKWARD:
            return self._backward
        runs = {
            Direction.FORWARD: lambda: self.forward(*self.inputs),
            Direction.BOTH: lambda: self.both(self.grad, *self.inputs),
            Direction.CALL: lambda: self.call(*self.inputs),
        }
        run = runs[direction]
        last: list[Any] = []

        def keep() -> None:
            last[:] = [run()]

        return timed(keep, lambda: jax.block_until_ready(last.pop()))

    def _backward(self, calls: int) -> float:
        kept = jax.block_until_ready([self.forward(*self.inputs)[1] for _ in range(calls)])
        last = None
        start = time.perf_counter()
        while kept:
            last = self.backward(kept.pop(), self.grad)
        jax.block_until_ready(last)
        return time.perf_counter() - start


def _to_jax(t: Tensor) -> jax.Array:
    dtype = jnp.bfloat16 if t.dtype is torch.bfloat16 else jnp.float32
    return jnp.asarray(t.detach().float().cpu().numpy()).astype(dtype)
