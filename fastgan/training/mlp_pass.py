"""Forward and backward passes through a chain of layers without autograd, for one loss or for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fastgan.chains import Chain, Layer
from fastgan.kernels import Reference
from fastgan.kernels.activations import NONE, Forward
from fastgan.kernels.layout import joined
from fastgan.ops.linear_leaky_relu import autocast_like_linear
from fastgan.ops.mlp import check_chain
from fastgan.ops.routing import autocast_dtype, route
from fastgan.training.rooms import room_of


def cast_chain(samples: Tensor, chain: Chain) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
    """Samples, weights and biases as autocast casts them for ``F.linear``.

    A trainer's bfloat16 copies of weights and biases are used if there are any.
    """
    parameters, depth = parameters_of(chain.layers), len(chain.layers)
    if autocast_dtype(samples) is torch.bfloat16:
        rooms = [None if p is None else room_of(p) for p in parameters]
        halves = [None if room is None else room.half for room in rooms]
        parameters = [p if half is None else half for p, half in zip(parameters, halves, strict=True)]
    samples, *cast = autocast_like_linear(samples, *parameters)
    weights, biases = cast[:depth], cast[depth:]
    check_chain(samples, weights, biases, chain.activations)
    return samples, weights, biases


def parameters_of(layers: Sequence[Layer]) -> list[Tensor | None]:
    """Weights, then biases."""
    # layer.weight is slower: it searches the module
    return [layer.linear._parameters[name] for name in ("weight", "bias") for layer in layers]


def places_for(parameters: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """A trainer's memory for each parameter's gradient.

    None if the parameter has a gradient already, to which the new one is added, or the memory has another
    dtype.
    """
    places: list[Tensor | None] = []
    for p in parameters:
        room = None if p is None or p.grad is not None else room_of(p)
        places.append(None if room is None or room.grad.dtype is not dtype else room.grad)
    return places


def add_gradients(parameters: Sequence[Tensor | None], grads: Sequence[Tensor | None]) -> None:
    """Add gradients to the parameters that require one."""
    for p, grad in zip(parameters, grads, strict=True):
        if p is not None and p.requires_grad and grad is not None:
            grad = grad.to(p.dtype)
            p.grad = grad if p.grad is None else p.grad.add_(grad)


@dataclass
class MLPPass:
    """A pass of batches through a chain of layers.

    Attributes:
        outputs: output of each batch, without a graph; logits ``[N, 1]`` for a discriminator.
    """

    backend: Reference
    chain: Chain
    seen: Forward
    product: Tensor
    outputs: list[Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, batches: Sequence[Tensor], chain: Chain, into: Tensor | None = None) -> MLPPass:
        """The forward pass of batches ``[N, features[0]]``; ``into`` receives the output of all."""
        samples, weights, biases = cast_chain(joined(batches), chain)
        backend, _ = route(samples, *weights, *biases)
        seen, product = backend.mlp(samples, weights, biases, chain.activations)
        output = backend.activate(product, chain.last_activation, into)
        return cls(backend, chain, seen, product, list(output.split([len(batch) for batch in batches])))

    def of_last_batch(self) -> MLPPass:
        """The same pass for the last batch only."""
        count = len(self.outputs[-1])
        products = [None if each is None else each[-count:] for each in self.seen.products]
        hidden = [each[-count:] for each in self.seen.hidden]
        seen = self.seen._replace(input=self.seen.input[-count:], products=products, hidden=hidden)
        return replace(self, seen=seen, product=self.product[-count:], outputs=self.outputs[-1:])

    @torch.no_grad()
    def reach_parameters(self, grads: Sequence[Tensor]) -> None:
        """Add to the gradients of the layers; ``grads`` are the gradients of the outputs."""
        needs = [False, *self._trainable()]
        self._add(self.backend.mlp_backward(self._to_product(grads), self.seen, needs, self._places())[1:])

    @torch.no_grad()
    def reach_samples(self, grad: Tensor) -> Tensor:
        """The gradient of the only batch's samples, ``[N, features[0]]``; ``grad`` is that of its outputs."""
        needs = [True] + [False] * 2 * len(self.chain.layers)
        reaching = self.backend.mlp_backward(self._to_product([grad]), self.seen, needs)[0]
        assert reaching is not None
        return reaching

    @torch.no_grad()
    def reach_both(self, grads: Sequence[Tensor], grad: Tensor) -> Tensor:
        """Add the gradients of D's loss to the layers; return the gradient of G's loss for the last batch.

        A sample's gradient is linear in the derivative at its logit, so both losses share one backward pass.
        With u_L = 1, u_{i-1} = d_{i-1} * (u_i W_i) for the derivative d of an activation, and the derivatives
        s of D's and t of G's loss with respect to the logits,

            dW_i = (s * u_i)ᵀ h_{i-1},   db_i = sᵀ u_i   for D,      dx = t * (u_1 W_1)   for G.

        G's gradient is not computed as t / s times D's: with s = σ(f) and t = σ(f) - 1 that overflows at
        f = -104 in float32, when D has won and G needs its gradient most.

        Args:
            grads: derivatives of D's loss with respect to the logits of each batch.
            grad: derivative of G's loss with respect to the logits of the last batch.

        Returns:
            ``[M, features[0]]``.
        """
        first, second = self._to_product(grads), self.of_last_batch()._to_product([grad])
        reaching, *of_layers = self.backend.mlp_backward_of_both(
            first, len(first) - len(second), self.seen, [True, *self._trainable()], self._places()
        )
        assert reaching is not None
        self._add(of_layers)
        return reaching.mul_(second)

    @torch.no_grad()
    def slope(self) -> Tensor:
        """The gradient of each logit with respect to its sample, ``[N, features[0]]``, for the only batch."""
        needs = [True] + [False] * 2 * len(self.chain.layers)
        ones = torch.ones_like(self.outputs[0])
        self.reached, (slope, *_) = self.backend.mlp_chain(self._to_product([ones]), self.seen, needs)
        assert slope is not None
        return slope

    @torch.no_grad()
    def reach_parameters_by_slope(self, grad: Tensor) -> None:
        """Add to the gradients of the layers; ``grad`` is the gradient of the result of :meth:`slope`.

        The slope is u_0 with u_L = 1, u_{i-1} = mask_{i-1} * (u_i W_i). The masks of piecewise linear
        activations are constants.
        """
        depth = len(self.chain.layers)
        dw = self.backend.mlp_slope_backward(grad, self.reached, self.seen, self._places()[:depth])
        self._add([*dw, *[None] * depth])

    def _to_product(self, grads: Sequence[Tensor]) -> Tensor:
        """The gradient of the last layer's product, given the gradients of the outputs."""
        grad, activation = joined(grads), self.chain.last_activation
        if activation != NONE:
            output = joined(self.outputs)
            wide = output.dtype  # under autocast, the samples' float32
            product = self.product.to(wide) if activation.kind == "maxout" else None
            grad, _ = self.backend.activation_backward(grad.to(wide), product, output, activation, False)
        return grad.to(self.product.dtype)

    def _trainable(self) -> list[bool]:
        return [p is not None and p.requires_grad for p in parameters_of(self.chain.layers)]

    def _places(self) -> list[Tensor | None]:
        return places_for(parameters_of(self.chain.layers), self.product.dtype)

    def _add(self, grads: Sequence[Tensor | None]) -> None:
        add_gradients(parameters_of(self.chain.layers), grads)
