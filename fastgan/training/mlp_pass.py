"""A chain of layers run forward and backward without autograd around it, for one player or for both."""

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
    """Samples, weights and biases as ``F.linear`` sees them; a trainer may have cast the latter already."""
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
    # layer.weight would search the module
    return [layer._parameters[name] for name in ("weight", "bias") for layer in layers]


def places_for(parameters: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """Where a trainer wants a gradient of each parameter; None where it has one, or one of another dtype.

    Layers may share a parameter: the first of them gets its place, the others' gradients are added to that.
    """
    places: list[Tensor | None] = []
    seen: set[int] = set()
    for p in parameters:
        room = None if p is None or p.grad is not None or id(p) in seen else room_of(p)
        seen.add(id(p))
        places.append(None if room is None or room.grad.dtype is not dtype else room.grad)
    return places


def add_gradients(parameters: Sequence[Tensor | None], grads: Sequence[Tensor | None]) -> None:
    """To those of the parameters that require one."""
    for p, grad in zip(parameters, grads, strict=True):
        if p is not None and p.requires_grad and grad is not None:
            grad = grad.to(p.dtype)
            p.grad = grad if p.grad is None else p.grad.add_(grad)


@dataclass
class MLPPass:
    """One pass of batches through a chain of linear + leaky ReLU layers whose last layer is linear.

    Attributes:
        outputs: of each batch, without a graph: of a discriminator logits ``[N, 1]``.
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
        """Run it forward on batches ``[N, features[0]]``."""
        samples, weights, biases = cast_chain(joined(batches), layers)
        backend, _ = route(samples, *weights, *biases)
        *hidden, output = backend.mlp(samples, weights, biases, slope)
        each = list(output.split([len(batch) for batch in batches]))
        return cls(backend, slope, layers, weights, samples, hidden, each)

    def of_last_batch(self) -> MLPPass:
        """The same pass, as if the last batch alone had gone through."""
        count = len(self.outputs[-1])
        hidden = [each[-count:] for each in self.hidden]
        return replace(self, samples=self.samples[-count:], hidden=hidden, outputs=self.outputs[-1:])

    @torch.no_grad()
    def reach_parameters(self, grads: Sequence[Tensor]) -> None:
        """Add to the gradients of the layers; ``grads`` are those of the logits."""
        needs = [False, *self._trainable()]
        self._add(self._chain_backward(self._joined(grads), needs, self._places())[1:])

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
        """The gradient of each logit by the sample it is of, ``[N, features[0]]``, of the only batch."""
        needs = [True] + [False] * 2 * len(self.layers)
        ones = torch.ones_like(self.outputs[0])
        self.reached, (slope, *_) = self.backend.mlp_chain(
            ones, self.samples, self.weights, self.hidden, self.negative_slope, needs
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
