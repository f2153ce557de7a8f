"""The whole step under jax.jit, with donated arrays and random numbers drawn inside."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from benchmarks.step.problem import BETAS, EPS, LATENT_DIM, LEARNING_RATE, SLOPE, Problem

jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, as in PyTorch
Layers = list[tuple[jax.Array, jax.Array]]


class Jax:
    def __init__(self, problem: Problem, scanned: int = 1) -> None:
        self.steps_a_run = scanned
        g, d = (
            [(jnp.asarray(w.numpy()), jnp.asarray(b.numpy())) for w, b in layers]
            for layers in problem.weights()
        )
        zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)  # noqa: E731
        self.state: Any = (g, zeros(g), zeros(g), d, zeros(d), zeros(d), jnp.zeros(()))
        self.key = jax.random.key(0)
        self.data = jnp.asarray(problem.data("cpu").numpy())
        alternating = partial(_alternating, problem.r1_gamma)
        update = _simultaneous if problem.simultaneous else alternating
        batch = problem.batch

        def drawn(carry: Any, data: jax.Array) -> Any:
            state, key = carry
            key, rows, first, second = jax.random.split(key, 4)
            real = data[jax.random.randint(rows, (batch,), 0, len(data))]
            latents = (jax.random.normal(k, (batch, LATENT_DIM)) for k in (first, second))
            return update(state, real, *latents), key

        def several(carry: Any, data: jax.Array) -> Any:
            if scanned == 1:
                return drawn(carry, data)
            return jax.lax.scan(lambda c, _: (drawn(c, data), None), carry, length=scanned)[0]

        self._step = jax.jit(update)
        self._run = jax.jit(several, donate_argnums=0)

    def step(self, real: Tensor, first: Tensor, second: Tensor) -> None:
        self.state = self._step(self.state, *(jnp.asarray(t.cpu().numpy()) for t in (real, first, second)))

    def run(self) -> None:
        self.state, self.key = self._run((self.state, self.key), self.data)

    def finish(self) -> None:
        jax.block_until_ready(self.state)

    def weights(self) -> list[Tensor]:
        layers = [*self.state[0], *self.state[3]]
        return [torch.from_numpy(np.array(array)) for layer in layers for array in layer]


def _mlp(layers: Layers, x: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        x = jax.nn.leaky_relu(x @ weight.T + bias, SLOPE)
    weight, bias = layers[-1]
    return x @ weight.T + bias


def _generate(layers: Layers, latent: jax.Array) -> jax.Array:
    return jnp.tanh(_mlp(layers, latent))


def _adam(p: Any, grad: Any, m: Any, v: Any, count: jax.Array) -> tuple[Any, Any, Any]:
    first, second = BETAS
    m = jax.tree.map(lambda m, g: first * m + (1 - first) * g, m, grad)
    v = jax.tree.map(lambda v, g: second * v + (1 - second) * g * g, v, grad)

    def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        root = jnp.sqrt(v) / jnp.sqrt(1 - second**count) + EPS
        return p - LEARNING_RATE / (1 - first**count) * m / root

    return jax.tree.map(moved, p, m, v), m, v


def _sigmoid(t: jax.Array) -> jax.Array:
    """XLA's sigmoid on the CPU is based on tanh and has no correct digit at -17."""
    return jnp.exp(-jax.nn.softplus(-t))


def _alternating(r1_gamma: float, state: Any, real: jax.Array, first: jax.Array, second: jax.Array) -> Any:
    g, mg, vg, d, md, vd, count = state
    fake = _generate(g, first)

    def loss_of_d(d: Layers) -> jax.Array:
        of_real, of_fake = jnp.split(_mlp(d, jnp.concatenate([real, fake])), 2)
        loss = jax.nn.softplus(-of_real).mean() + jax.nn.softplus(of_fake).mean()
        if r1_gamma:
            slope = jax.grad(lambda x: _mlp(d, x).sum())(real)
            loss += r1_gamma / 2 * jnp.square(slope).sum(1).mean()
        return loss

    def loss_of_g(g: Layers) -> jax.Array:
        return jax.nn.softplus(-_mlp(d, _generate(g, second))).mean()

    d, md, vd = _adam(d, jax.grad(loss_of_d)(d), md, vd, count + 1)
    g, mg, vg = _adam(g, jax.grad(loss_of_g)(g), mg, vg, count + 1)
    return g, mg, vg, d, md, vd, count + 1


def _simultaneous(state: Any, real: jax.Array, first: jax.Array, second: jax.Array) -> Any:
    """One forward pass of D for both players. XLA removes unused parts of the two backward passes."""
    g, mg, vg, d, md, vd, count = state
    fake, to_g = jax.vjp(lambda g: _generate(g, first), g)
    logits, back = jax.vjp(lambda d, fake: _mlp(d, jnp.concatenate([real, fake])), d, fake)
    of_real, of_fake = jnp.split(logits, 2)
    size = len(of_real)
    of_d, _ = back(jnp.concatenate([-_sigmoid(-of_real), _sigmoid(of_fake)]) / size)
    _, at_fake = back(jnp.concatenate([jnp.zeros_like(of_real), -_sigmoid(-of_fake)]) / size)
    (of_g,) = to_g(at_fake)
    d, md, vd = _adam(d, of_d, md, vd, count + 1)
    g, mg, vg = _adam(g, of_g, mg, vg, count + 1)
    return g, mg, vg, d, md, vd, count + 1
