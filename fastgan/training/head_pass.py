"""Passes through a discriminator whose last layer and loss are one kernel, without autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastgan.kernels import Reference
from fastgan.kernels.layout import joined
from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops.logit_loss import dtype_of_loss
from fastgan.ops.routing import route
from fastgan.training.mlp_pass import add_gradients, cast_chain, parameters_of, places_for


@dataclass
class HeadPass:
    """A pass of batches through an MLP with one logit per sample, up to the loss.

    Logits are never written to memory. The forward pass computes the last layer's gradients too.

    Attributes:
        places: a trainer's memory for the gradients of weights, then biases; None if there is none.
        loss: a scalar.
        stats: float32, as for :func:`fastgan.discriminator_loss`.
        bias_grad: ``[1]``: the sum of the loss's derivatives with respect to the logits.
    """

    backend: Reference
    negative_slope: float
    layers: list[nn.Linear]
    weights: list[Tensor]
    samples: Tensor
    hidden: list[Tensor]
    places: list[Tensor | None]
    reaching: Tensor
    weight_grad: Tensor
    bias_grad: Tensor
    loss: Tensor
    stats: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        batches: Sequence[Tensor],
        layers: list[nn.Linear],
        slope: float,
        spec: LossSpec,
    ) -> HeadPass:
        """The forward pass of batches ``[N, features[0]]``.

        Args:
            batches: the batches.
            layers: at least two layers.
            slope: negative slope of the leaky ReLU.
            spec: the loss, with a label and a weight for each batch.
        """
        samples, weights, biases = cast_chain(joined(batches), layers)
        backend, _ = route(samples, *weights, *biases)
        hidden: list[Tensor] = []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            hidden.append(backend.linear_leaky_relu(hidden[-1] if hidden else samples, weight, bias, slope))
        row = weights[-1].reshape(-1)
        places = places_for(parameters_of(layers), row.dtype)
        of_weight, of_bias = places[len(layers) - 1], places[-1]
        into = None if of_weight is None or of_bias is None else (of_weight.view(-1), of_bias)
        loss, grads, dw, db, details = backend.head_loss_and_grad(
            hidden[-1].split([len(batch) for batch in batches]),
            *(row, biases[-1], spec, None, dtype_of_loss(batches[0]), into),
        )
        stats = details[len(batches) :].float()
        reaching = joined(grads)
        return cls(backend, slope, layers, weights, samples, hidden, places, reaching, dw, db, loss, stats)

    @torch.no_grad()
    def reach_parameters(self) -> None:
        """Add to the gradients of the layers."""
        depth = len(self.layers) - 1
        below, last = self.layers[:-1], self.layers[-1]
        parameters = parameters_of(below)
        trainable = [p is not None and p.requires_grad for p in parameters]
        into = [*self.places[:depth], *self.places[depth + 1 : -1]]
        dz, db = self.backend.bias_leaky_relu_backward(
            self.reaching, self.hidden[-1], self.negative_slope, 1, trainable[-1], into[-1]
        )
        needs = [False, *trainable[:-1], False]
        weights, hidden = self.weights[:depth], self.hidden[:-1]
        _, *grads = self.backend.mlp_backward(
            dz, self.samples, weights, hidden, self.negative_slope, needs, into
        )
        grads[-1] = db
        add_gradients(parameters, grads)
        add_gradients((last.weight, last.bias), (self.weight_grad.view(last.weight.shape), self.bias_grad))

    @torch.no_grad()
    def reach_samples(self) -> Tensor:
        """The gradient with respect to the samples, ``[N, features[0]]``."""
        dz, _ = self.backend.bias_leaky_relu_backward(
            self.reaching, self.hidden[-1], self.negative_slope, 1, False
        )
        depth = len(self.layers) - 1
        needs = [True] + [False] * 2 * depth
        weights, hidden = self.weights[:depth], self.hidden[:-1]
        reaching, *_ = self.backend.mlp_backward(
            dz, self.samples, weights, hidden, self.negative_slope, needs
        )
        assert reaching is not None
        return reaching
