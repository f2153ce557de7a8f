"""Maxout layers (Goodfellow et al., 2013)."""

from __future__ import annotations

from torch import Tensor, nn


class Maxout(nn.Module):
    """Each output is the largest of ``pieces`` linear functions of the input.

    Shape: [..., in_features] to [..., out_features].
    """

    def __init__(self, in_features: int, out_features: int, pieces: int) -> None:
        super().__init__()
        self.out_features, self.pieces = out_features, pieces
        self.linear = nn.Linear(in_features, out_features * pieces)

    def forward(self, input: Tensor) -> Tensor:
        values: Tensor = self.linear(input)
        largest: Tensor = values.unflatten(-1, (self.out_features, self.pieces)).amax(dim=-1)
        return largest
