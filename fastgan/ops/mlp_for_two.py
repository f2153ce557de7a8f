"""One pass through a discriminator that serves both players (simultaneous updates)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastgan.kernels import Backend, choose
from fastgan.ops.linear_leaky_relu import autocast_like_linear
from fastgan.ops.mlp import chain_of_activations
from fastgan.ops.routing import Route, route


@dataclass
class MLPForTwo:
    """An MLP with one logit a sample, run forward, and both players' gradients from one way back.

    A sample's gradient through the network is linear in the one number that arrives at its logit. With
    u_L = 1, u_{i-1} = mask_{i-1} * (u_i W_i), once for both players, and their losses' derivatives s and t
    by the logits,

        dW_i = (s * u_i)ᵀ h_{i-1},   db_i = sᵀ u_i   for D,      dx = t * (u_1 W_1)   for G.

    One player's gradient is never made of the other's by t / s: with s = σ(f) and t = σ(f) - 1 that
    overflows at f = -104 in float32, where D has long won and G's gradient is all there is to save it.

    Attributes:
        logits: ``[N, 1]``, without a graph.
    """

    backend: Backend
    negative_slope: float
    layers: list[nn.Linear]
    weights: list[Tensor]
    below: list[Tensor]
    logits: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, samples: Tensor, layers: Iterable[nn.Module], negative_slope: float) -> MLPForTwo | None:
        """Run it forward on samples ``[N, features]``; None where no kernel may be called directly."""
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        parameters = [layer.weight for layer in linear], [layer.bias for layer in linear]
        samples, *cast = autocast_like_linear(samples, *parameters[0], *parameters[1])
        if route(samples, *cast) is not Route.DIRECT:
            return None
        weights, biases = cast[: len(linear)], cast[len(linear) :]
        backend = choose(samples)
        *hidden, logits = chain_of_activations(backend, negative_slope, samples, weights, biases)
        return cls(backend, negative_slope, linear, weights, [samples, *hidden], logits)

    @torch.no_grad()
    def backward(self, first: Tensor, second: Tensor) -> Tensor:
        """Add the first player's gradient to the layers; return what reaches the second's samples.

        Args:
            first: ``[N, 1]``, the derivative of D's loss by each logit.
            second: ``[M, 1]``, that of G's loss by the last M logits.

        Returns:
            ``[M, features]``.
        """
        first, second = first.to(self.logits.dtype), second.to(self.logits.dtype)
        unit = [torch.ones_like(self.logits)]
        for weight, output in zip(self.weights[:0:-1], self.below[:0:-1], strict=True):
            u, _ = self.backend.dgrad_leaky_relu(unit[-1], weight, output, self.negative_slope, False)
            unit.append(u)
        samples = self.backend.dgrad(unit[-1][-len(second) :], self.weights[0]).mul_(second)
        for layer, u, input in zip(self.layers, reversed(unit), self.below, strict=True):
            if layer.bias is not None:
                _add(layer.bias, torch.mm(first.t(), u).squeeze(0))
            _add(layer.weight, self.backend.wgrad(u.mul_(first), input))
        return samples


def _add(parameter: Tensor, grad: Tensor) -> None:
    if parameter.requires_grad:
        grad = grad.to(parameter.dtype)
        parameter.grad = grad if parameter.grad is None else parameter.grad.add_(grad)
