"""Maxout layers (Goodfellow et al., 2013)."""

from __future__ import annotations

from torch import Tensor, nn


class Maxout(nn.Module):
    """Maximum of ``pieces`` linear functions, from ``[..., in_features]`` to ``[..., out_features]``."""

    def __init__(self, in_features: int, out_features: int, pieces: int) -> None:
        super().__init__()
        self.out_features, self.pieces = out_features, pieces
        self.linear = nn.Linear(in_features, out_features * pieces)

    def forward(self, input: Tensor) -> Tensor:
        values: Tensor = self.linear(input)
        # pieces in the second last dimension: a maximum over the last, of size 5, would not vectorize
        largest: Tensor = values.unflatten(-1, (self.pieces, self.out_features)).amax(dim=-2)
        return largest
