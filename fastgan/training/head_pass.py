"""Passes through a discriminator whose last layer and loss are one kernel, without autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.chains import Chain
from fastgan.kernels import Reference
from fastgan.kernels.activations import Forward
from fastgan.kernels.layout import joined
from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops.logit_loss import dtype_of_loss
from fastgan.ops.routing import route
from fastgan.training.mlp_pass import add_gradients, cast_chain, parameters_of, places_for


@dataclass
class HeadPass:
    """A pass of batches through a chain with one logit per sample, up to the loss.

    Logits are never written to memory. The forward pass computes the last layer's gradients too.

    Attributes:
        places: a trainer's memory for the gradients of weights, then biases; None if there is none.
        loss: a scalar.
        stats: float32, as for :func:`fastgan.discriminator_loss`.
        bias_grad: ``[1]``: the sum of the loss's derivatives with respect to the logits.
    """

    backend: Reference
    chain: Chain
    seen: Forward
    places: list[Tensor | None]
    reaching: Tensor
    weight_grad: Tensor
    bias_grad: Tensor
    loss: Tensor
    stats: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, batches: Sequence[Tensor], chain: Chain, spec: LossSpec) -> HeadPass:
        """The forward pass of batches ``[N, features[0]]``.

        Args:
            batches: the batches.
            chain: at least two layers, the last one linear.
            spec: the loss, with a label and a weight for each batch.
        """
        samples, weights, biases = cast_chain(joined(batches), chain)
        backend, _ = route(samples, *weights, *biases)
        seen = backend.hidden_layers(samples, weights, biases, chain.activations)
        row = weights[-1].reshape(-1)
        places = places_for(parameters_of(chain.layers), row.dtype)
        of_weight, of_bias = places[len(weights) - 1], places[-1]
        into = None if of_weight is None or of_bias is None else (of_weight.view(-1), of_bias)
        loss, grads, dw, db, details = backend.head_loss_and_grad(
            seen.hidden[-1].split([len(batch) for batch in batches]),
            *(row, biases[-1], spec, None, dtype_of_loss(batches[0]), into),
        )
        stats = details[len(batches) :].float()
        reaching = joined(grads)
        return cls(backend, chain, seen, places, reaching, dw, db, loss, stats)

    @torch.no_grad()
    def reach_parameters(self) -> None:
        """Add to the gradients of the layers."""
        depth = len(self.chain.layers) - 1
        parameters = parameters_of(self.chain.layers[:-1])
        trainable = [p is not None and p.requires_grad for p in parameters]
        into = [*self.places[:depth], *self.places[depth + 1 : -1]]
        dz, db = self._to_product(trainable[-1], into[-1])
        needs = [False, *trainable[:-1], False]
        _, *grads = self.backend.mlp_backward(dz, self.seen.without_last(), needs, into)
        grads[-1] = db
        add_gradients(parameters, grads)
        last = self.chain.layers[-1].linear
        add_gradients((last.weight, last.bias), (self.weight_grad.view(last.weight.shape), self.bias_grad))

    @torch.no_grad()
    def reach_samples(self) -> Tensor:
        """The gradient with respect to the samples, ``[N, features[0]]``."""
        dz, _ = self._to_product(False)
        needs = [True] + [False] * 2 * (len(self.chain.layers) - 1)
        reaching, *_ = self.backend.mlp_backward(dz, self.seen.without_last(), needs)
        assert reaching is not None
        return reaching

    def _to_product(self, with_bias: bool, into: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The gradient of the product of the layer before the last, and of its bias."""
        seen = self.seen
        activated = seen.products[-1], seen.hidden[-1], seen.activations[-1]
        return self.backend.activation_backward(self.reaching, *activated, with_bias, into)
