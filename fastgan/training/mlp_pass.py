"""Forward and backward passes through a chain of layers without autograd, for one loss or for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fastgan.kernels import Reference
from fastgan.kernels.layout import joined
from fastgan.ops.linear_leaky_relu import autocast_like_linear
from fastgan.ops.mlp import check_chain
from fastgan.ops.routing import autocast_dtype, route
from fastgan.training.rooms import room_of


def cast_chain(
    samples: Tensor, layers: Sequence[nn.Linear]
) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
    """Samples, weights and biases as autocast casts them for ``F.linear``.

    A trainer's bfloat16 copies of weights and biases are used if there are any.
    """
    parameters = parameters_of(layers)
    if autocast_dtype(samples) is torch.bfloat16:
        rooms = [None if p is None else room_of(p) for p in parameters]
        halves = [None if room is None else room.half for room in rooms]
        parameters = [p if half is None else half for p, half in zip(parameters, halves, strict=True)]
    samples, *cast = autocast_like_linear(samples, *parameters)
    weights, biases = cast[: len(layers)], cast[len(layers) :]
    check_chain(samples, weights, biases)
    return samples, weights, biases


def parameters_of(layers: Sequence[nn.Linear]) -> list[Tensor | None]:
    """Weights, then biases."""
    # layer.weight is slower: it searches the module
    return [layer._parameters[name] for name in ("weight", "bias") for layer in layers]


def places_for(parameters: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """A trainer's memory for each parameter's gradient.

    None if the parameter has a gradient already, the memory has another dtype, or an earlier layer shares the
    parameter; such gradients are added to the existing ones.
    """
    places: list[Tensor | None] = []
    seen: set[int] = set()
    for p in parameters:
        room = None if p is None or p.grad is not None or id(p) in seen else room_of(p)
        seen.add(id(p))
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
    """A pass of batches through linear layers with leaky ReLU between them.

    Attributes:
        outputs: output of each batch, without a graph; logits ``[N, 1]`` for a discriminator.
    """

    backend: Reference
    negative_slope: float
    layers: list[nn.Linear]
    weights: list[Tensor]
    samples: Tensor
    hidden: list[Tensor]
    outputs: list[Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, batches: Sequence[Tensor], layers: list[nn.Linear], slope: float) -> MLPPass:
        """The forward pass of batches ``[N, features[0]]``."""
        samples, weights, biases = cast_chain(joined(batches), layers)
        backend, _ = route(samples, *weights, *biases)
        *hidden, output = backend.mlp(samples, weights, biases, slope)
        each = list(output.split([len(batch) for batch in batches]))
        return cls(backend, slope, layers, weights, samples, hidden, each)

    def of_last_batch(self) -> MLPPass:
        """The same pass for the last batch only."""
        count = len(self.outputs[-1])
        hidden = [each[-count:] for each in self.hidden]
        return replace(self, samples=self.samples[-count:], hidden=hidden, outputs=self.outputs[-1:])

    @torch.no_grad()
    def reach_parameters(self, grads: Sequence[Tensor]) -> None:
        """Add to the gradients of the layers; ``grads`` are the gradients of the outputs."""
        needs = [False, *self._trainable()]
        self._add(self._chain_backward(self._joined(grads), needs, self._places())[1:])

    @torch.no_grad()
    def reach_samples(self, grad: Tensor) -> Tensor:
        """The gradient of the only batch's samples, ``[N, features[0]]``; ``grad`` is that of its outputs."""
        reaching = self._chain_backward(self._joined([grad]), [True] + [False] * 2 * len(self.layers))[0]
        assert reaching is not None
        return reaching

    @torch.no_grad()
    def reach_both(self, grads: Sequence[Tensor], grad: Tensor) -> Tensor:
        """Add the gradients of D's loss to the layers; return the gradient of G's loss for the last batch.

        A sample's gradient is linear in the derivative at its logit, so both losses share one backward pass.
        With u_L = 1, u_{i-1} = mask_{i-1} * (u_i W_i), and the derivatives s of D's and t of G's loss with
        respect to the logits,

            dW_i = (s * u_i)ᵀ h_{i-1},   db_i = sᵀ u_i   for D,      dx = t * (u_1 W_1)   for G.

        G's gradient is not computed as t / s times D's: with s = σ(f) and t = σ(f) - 1 that overflows at
        f = -104 in float32, when D has won and G needs its gradient most.

        Args:
            grads: derivatives of D's loss with respect to the logits of each batch.
            grad: derivative of G's loss with respect to the logits of the last batch.

        Returns:
            ``[M, features[0]]``.
        """
        first, second = self._joined(grads), self._joined([grad])
        needs = [True, *self._trainable()]
        reaching, *of_layers = self.backend.mlp_backward_of_both(
            first,
            len(first) - len(second),
            self.samples,
            self.weights,
            self.hidden,
            self.negative_slope,
            needs,
            self._places(),
        )
        assert reaching is not None
        self._add(of_layers)
        return reaching.mul_(second)

    @torch.no_grad()
    def slope(self) -> Tensor:
        """The gradient of each logit with respect to its sample, ``[N, features[0]]``, for the only batch."""
        needs = [True] + [False] * 2 * len(self.layers)
        ones = torch.ones_like(self.outputs[0])
        self.reached, (slope, *_) = self.backend.mlp_chain(
            ones, self.samples, self.weights, self.hidden, self.negative_slope, needs
        )
        assert slope is not None
        return slope

    @torch.no_grad()
    def reach_parameters_by_slope(self, grad: Tensor) -> None:
        """Add to the gradients of the layers; ``grad`` is the gradient of the result of :meth:`slope`.

        The slope is u_0 with u_L = 1, u_{i-1} = mask_{i-1} * (u_i W_i), and the masks are constants. So its
        derivative takes a single pass up the chain:

            a_0 = grad,   a_i = mask_i * (a_{i-1} W_iᵀ),   dW_i = u_iᵀ a_{i-1},   db_i = 0.
        """
        into = self._places()
        dw: list[Tensor | None] = [self.backend.wgrad(self.reached[0], grad, into[0])]
        for i, u in enumerate(self.reached[1:]):
            climbed = self.backend.linear(grad, self.weights[i], None)
            grad, _ = self.backend.bias_leaky_relu_backward(
                climbed, self.hidden[i], self.negative_slope, 1, False
            )
            dw.append(self.backend.wgrad(u, grad, into[i + 1]))
        self._add([*dw, *[None] * len(dw)])

    def _joined(self, grads: Sequence[Tensor]) -> Tensor:
        return joined(grads).to(self.outputs[0].dtype)

    def _chain_backward(
        self, grad: Tensor, needs: Sequence[bool], into: Sequence[Tensor | None] | None = None
    ) -> list[Tensor | None]:
        return self.backend.mlp_backward(
            grad, self.samples, self.weights, self.hidden, self.negative_slope, needs, into
        )

    def _trainable(self) -> list[bool]:
        return [p is not None and p.requires_grad for p in parameters_of(self.layers)]

    def _places(self) -> list[Tensor | None]:
        return places_for(parameters_of(self.layers), self.samples.dtype)

    def _add(self, grads: Sequence[Tensor | None]) -> None:
        add_gradients(parameters_of(self.layers), grads)
