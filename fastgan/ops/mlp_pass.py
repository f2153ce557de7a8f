"""A discriminator run forward and backward without autograd around it, for one player or for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastgan.kernels import Backend, choose
from fastgan.ops.linear_leaky_relu import autocast_like_linear
from fastgan.ops.mlp import chain_backward, chain_of_activations, masked_chain
from fastgan.ops.routing import Route, route


@dataclass
class MLPPass:
    """One pass of batches through an MLP of one logit a sample, and the gradients that a step asks of it.

    Attributes:
        outputs: logits ``[N, 1]`` of each batch, without a graph.
    """

    backend: Backend
    negative_slope: float
    layers: list[nn.Linear]
    weights: list[Tensor]
    samples: Tensor
    hidden: list[Tensor]
    outputs: list[Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, batches: Sequence[Tensor], layers: Sequence[nn.Module], slope: float) -> MLPPass | None:
        """Run it forward on batches ``[N, features[0]]``; None where no kernel may be called directly."""
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        samples = torch.cat(list(batches)) if len(batches) > 1 else batches[0]
        parameters = [layer.weight for layer in linear], [layer.bias for layer in linear]
        samples, *cast = autocast_like_linear(samples, *parameters[0], *parameters[1])
        if route(samples, *cast) is not Route.DIRECT:
            return None
        weights, biases = cast[: len(linear)], cast[len(linear) :]
        backend = choose(samples)
        *hidden, logits = chain_of_activations(backend, slope, samples, weights, biases)
        each = list(logits.split([len(batch) for batch in batches]))
        return cls(backend, slope, linear, weights, samples, hidden, each)

    @torch.no_grad()
    def reach_parameters(self, grads: Sequence[Tensor]) -> None:
        """Add to the gradients of the layers; ``grads`` are those of the logits."""
        needs = [False, *self._trainable()]
        self._add(self._chain_backward(self._joined(grads), needs)[1:])

    @torch.no_grad()
    def reach_samples(self, grad: Tensor) -> Tensor:
        """The gradient that arrives at the samples of the only batch, ``[N, features[0]]``."""
        reaching = self._chain_backward(self._joined([grad]), [True] + [False] * 2 * len(self.layers))[0]
        assert reaching is not None
        return reaching

    @torch.no_grad()
    def reach_both(self, grads: Sequence[Tensor], grad: Tensor) -> Tensor:
        """Add the first player's gradient to the layers; return what reaches the second's samples.

        A sample's gradient through the network is linear in the one number that arrives at its logit. With
        u_L = 1, u_{i-1} = mask_{i-1} * (u_i W_i), once for both players, and their losses' derivatives s
        and t by the logits,

            dW_i = (s * u_i)ᵀ h_{i-1},   db_i = sᵀ u_i   for D,      dx = t * (u_1 W_1)   for G.

        One player's gradient is never made of the other's by t / s: with s = σ(f) and t = σ(f) - 1 that
        overflows at f = -104 in float32, where D has long won and G's gradient is all there is to save it.

        Args:
            grads: the derivatives of D's loss by the logits of each batch.
            grad: that of G's loss by those of the last.

        Returns:
            ``[M, features[0]]``.
        """
        first, second = self._joined(grads), self._joined([grad])
        ones, begin = torch.ones_like(first), len(first) - len(second)
        needs = [True, *self._trainable()]
        reached = self.backend.mlp_backward(
            ones, self.samples, self.weights, self.hidden, self.negative_slope, needs, first, begin
        )
        if reached is None:
            reached = self._layer_by_layer(ones, first, begin)
        reaching, *of_layers = reached
        assert reaching is not None
        self._add(of_layers)
        return reaching.mul_(second)

    @torch.no_grad()
    def slope(self) -> Tensor:
        """The gradient of each logit by the sample it is of, ``[N, features[0]]``, of the only batch."""
        needs = [True] + [False] * 2 * len(self.layers)
        ones = torch.ones_like(self.outputs[0])
        self.reached, (slope, *_) = masked_chain(
            self.backend, self.negative_slope, needs, ones, self.samples, self.weights, self.hidden
        )
        assert slope is not None
        return slope

    @torch.no_grad()
    def reach_parameters_by_slope(self, grad: Tensor) -> None:
        """Add to the gradients of the layers; ``grad`` is that of :meth:`slope`, which was called before.

        The slope is u_0 with u_L = 1, u_{i-1} = mask_{i-1} * (u_i W_i), and the masks are constants, so its
        derivative climbs the chain once, with no way back down:

            a_0 = grad,   a_i = mask_i * (a_{i-1} W_iᵀ),   dW_i = u_iᵀ a_{i-1},   db_i = 0.
        """
        dw: list[Tensor | None] = [self.backend.wgrad(self.reached[0], grad)]
        for u, weight, output in zip(self.reached[1:], self.weights, self.hidden, strict=False):
            climbed = self.backend.linear(grad, weight, None)
            grad, _ = self.backend.bias_leaky_relu_backward(climbed, output, self.negative_slope, 1, False)
            dw.append(self.backend.wgrad(u, grad))
        self._add([*dw, *[None] * len(dw)])

    def _joined(self, grads: Sequence[Tensor]) -> Tensor:
        joined = torch.cat(list(grads)) if len(grads) > 1 else grads[0]
        return joined.to(self.outputs[0].dtype)

    def _chain_backward(self, grad: Tensor, needs: Sequence[bool]) -> list[Tensor | None]:
        return chain_backward(
            self.backend, self.negative_slope, needs, grad, self.samples, self.weights, self.hidden
        )

    def _layer_by_layer(self, ones: Tensor, first: Tensor, begin: int) -> list[Tensor | None]:
        unit = [ones]
        for weight, output in zip(self.weights[:0:-1], self.hidden[::-1], strict=True):
            u, _ = self.backend.dgrad_leaky_relu(unit[-1], weight, output, self.negative_slope, False)
            unit.append(u)
        reaching = self.backend.dgrad(unit[-1][begin:], self.weights[0])
        unit.reverse()
        below = [self.samples, *self.hidden]
        dw = [self.backend.wgrad(u.mul(first), x) for u, x in zip(unit, below, strict=True)]
        db = [torch.mm(first.t(), u).squeeze(0) for u in unit]
        return [reaching, *dw, *db]

    def _parameters(self) -> list[Tensor]:
        return [layer.weight for layer in self.layers] + [layer.bias for layer in self.layers]

    def _trainable(self) -> list[bool]:
        return [p is not None and p.requires_grad for p in self._parameters()]

    def _add(self, grads: Sequence[Tensor | None]) -> None:
        for p, trainable, grad in zip(self._parameters(), self._trainable(), grads, strict=True):
            if trainable and grad is not None:
                grad = grad.to(p.dtype)
                p.grad = grad if p.grad is None else p.grad.add_(grad)
