"""Modules over the fused operations, with the parameters and state_dict keys of their torch.nn twins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fastgan import ops
from fastgan.ops.arguments import check_negative_slope


class LinearLeakyReLU(nn.Linear):
    """``nn.Linear`` followed by ``nn.LeakyReLU``, fused: :func:`fastgan.linear_leaky_relu`.

    Shape: [..., in_features] to [..., out_features].
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        negative_slope: float = 0.2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_negative_slope(negative_slope)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return ops.linear_leaky_relu(input, self.weight, self.bias, self.negative_slope)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, negative_slope={self.negative_slope}"


class MLP(nn.Module):
    """Linear layers with leaky ReLU between them, the last one linear: :func:`fastgan.mlp`.

    ``MLP([784, 256, 256, 1])`` is a discriminator with logits. Shape: [..., features[0]] to
    [..., features[-1]].

    Raises:
        ValueError: fewer than two feature counts, or a negative slope.
    """

    def __init__(
        self,
        features: Sequence[int],
        negative_slope: float = 0.2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_negative_slope(negative_slope)
        if len(features) < 2:
            raise ValueError(f"features must hold at least input and output size, but is {list(features)}")
        self.negative_slope = negative_slope
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out, device=device, dtype=dtype) for n_in, n_out in pairwise(features)
        )

    def forward(self, input: Tensor) -> Tensor:
        layers = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        return ops.mlp(
            input, [layer.weight for layer in layers], [layer.bias for layer in layers], self.negative_slope
        )


class DiscriminatorLoss(nn.Module):
    """:func:`fastgan.discriminator_loss` as a module: (real_logits, fake_logits) to the loss."""

    def __init__(self, *, real_label: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.real_label, self.reduction = real_label, reduction

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor | tuple[Tensor, ...]:
        return ops.discriminator_loss(
            real_logits, fake_logits, real_label=self.real_label, reduction=self.reduction
        )


class GeneratorLoss(nn.Module):
    """:func:`fastgan.generator_loss` as a module: fake_logits to the loss."""

    def __init__(self, *, saturating: bool = False, reduction: str = "mean") -> None:
        super().__init__()
        self.saturating, self.reduction = saturating, reduction

    def forward(self, fake_logits: Tensor) -> Tensor | tuple[Tensor, ...]:
        return ops.generator_loss(fake_logits, saturating=self.saturating, reduction=self.reduction)
