"""Activations between linear layers, and what a backward pass through a chain of such layers needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

Kind = Literal["none", "leaky_relu", "tanh", "sigmoid", "maxout"]


class Activation(NamedTuple):
    """An activation after a linear layer.

    Attributes:
        kind: its function; the maximum of several pieces for "maxout".
        negative_slope: of a leaky ReLU, not negative; 0 is ReLU.
        pieces: of a maxout. The layer's product is [N, pieces * M], the output [N, M].
    """

    kind: Kind
    negative_slope: float = 1.0
    pieces: int = 1

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether the derivative is constant between kinks."""
        return self.kind not in ("tanh", "sigmoid")


NONE = Activation("none")


class Forward(NamedTuple):
    """A forward pass through a chain whose last layer is linear.

    Attributes:
        input: [N, K].
        weights: [pieces * M, K] for each layer.
        activations: those of all layers but the last.
        products: for each of these layers the product before a maxout; None for other activations.
        hidden: the outputs of these layers.
    """

    input: Tensor
    weights: Sequence[Tensor]
    activations: tuple[Activation, ...]
    products: Sequence[Tensor | None]
    hidden: Sequence[Tensor]

    def without_last(self) -> Forward:
        """The same pass up to the product of the layer before the last."""
        return self._replace(
            weights=self.weights[:-1],
            activations=self.activations[:-1],
            products=self.products[:-1],
            hidden=self.hidden[:-1],
        )
