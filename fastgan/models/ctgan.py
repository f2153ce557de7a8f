"""The networks of CTGAN, for tables (Xu et al. 2019, arXiv:1907.00503, section 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from fastgan.kernels.spans import Spans
from fastgan.nn import BatchNorm1dLeakyReLU
from fastgan.ops import span_activations

_NEGATIVE_SLOPE, _DROPOUT = 0.2, 0.5  # of the discriminator
TEMPERATURE = 0.2
"""Temperature of the Gumbel-softmax."""


class ResidualBlock(nn.Module):
    """Linear, batch norm and ReLU, in front of a copy of the input.

    Args:
        in_features: columns of the input.
        out_features: columns that the block adds.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=False)  # batch norm adds one
        self.norm = BatchNorm1dLeakyReLU(out_features, negative_slope=0.0)

    def forward(self, input: Tensor) -> Tensor:
        """From ``[N, in_features]`` to ``[N, out_features + in_features]``."""
        return torch.cat([self.norm(self.linear(input)), input], 1)


class CTGANGenerator(nn.Module):
    """Generates rows of a table, from a latent vector and a condition.

    Args:
        latent_dim: size of the latent vector.
        spans: the output layer's columns; those of its discrete columns are the conditions.
        hidden: widths of the residual blocks.
    """

    def __init__(self, latent_dim: int, spans: Spans, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.latent_dim, self.spans = latent_dim, spans
        widths = [latent_dim + spans.num_conditions]
        blocks = []
        for added in hidden:
            blocks.append(ResidualBlock(widths[-1], added))
            widths.append(widths[-1] + added)
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(widths[-1], spans.width)

    @property
    def residual_blocks(self) -> list[ResidualBlock]:
        """The blocks in the order of their calls."""
        return cast(list[ResidualBlock], list(self.blocks))

    def logits(self, latent: Tensor, conditions: Tensor | None = None) -> Tensor:
        """What the spans' activations are applied to, ``[N, D]``."""
        chosen = self.one_hot(conditions, latent)
        logits: Tensor = self.last(self.blocks(latent if chosen is None else torch.cat([latent, chosen], 1)))
        return logits

    def forward(
        self, latent: Tensor, conditions: Tensor | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Rows as a discriminator sees them.

        Args:
            latent: ``[N, latent_dim]``.
            conditions: int64 ``[N]``, numbers of conditions; None only if there are none.
            noise: float32 ``[N, D]``, uniform in [0, 1), for the Gumbel-softmax; None to draw it.

        Returns:
            ``[N, D + C]``: activated spans, and the condition as zeros and a one.
        """
        logits = self.logits(latent, conditions)
        if noise is None:
            noise = torch.rand(logits.shape, device=logits.device, dtype=torch.float32)
        rows = span_activations(logits, self.spans, noise, temperature=TEMPERATURE)
        chosen = self.one_hot(conditions, rows)
        return rows if chosen is None else torch.cat([rows, chosen], 1)

    def one_hot(self, conditions: Tensor | None, like: Tensor) -> Tensor | None:
        """Conditions as zeros and a one, ``[N, C]``; None for a table without any.

        Raises:
            ValueError: if conditions are missing.
        """
        count = self.spans.num_conditions
        if not count:
            return None
        if conditions is None:
            raise ValueError(f"conditions are None, but the table has {count}; give one for each row")
        return like.new_zeros(len(like), count).scatter_(1, conditions.unsqueeze(1), 1.0)


class Dropout(nn.Dropout):
    """Dropout whose random numbers the trainer draws during a step.

    Attributes:
        draw: draws float32 numbers in [0, 1) of a shape ``(batches, rows of each, ...)``; None: PyTorch's
            global generator draws.
    """

    draw: Callable[[tuple[int, ...]], Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        return input * self.kept(input) if self.training and self.draw else super().forward(input)

    def kept(self, input: Tensor, batches: int = 1) -> Tensor:
        """The factor of each element: 0 with probability p, else 1 / (1 - p); 1 in evaluation mode.

        Args:
            input: any shape; ``batches`` of equal size, joined.
            batches: how many. Each of several processes draws the numbers of its rows of each batch.
        """
        if not self.training or self.p == 0:
            return torch.ones_like(input)
        # bernoulli_ takes more than twice as long on a CPU
        if self.draw is None:
            uniform = torch.rand_like(input)
        else:
            uniform = self.draw((batches, len(input) // batches, *input.shape[1:])).view(input.shape)
        return uniform.lt(1 - self.p).to(input.dtype).mul_(1 / (1 - self.p))


class CTGANDiscriminator(nn.Module):
    """Leaky ReLU layers with dropout, from a pack of rows to its logit.

    Args:
        in_features: columns of a pack: those of a row with its condition, times the rows of a pack.
        hidden: widths of the hidden layers.
    """

    def __init__(self, in_features: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([in_features, *hidden]):
            layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(_NEGATIVE_SLOPE), Dropout(_DROPOUT)]
        self.layers = nn.Sequential(*layers, nn.Linear([in_features, *hidden][-1], 1))

    def forward(self, packs: Tensor) -> Tensor:
        """Logits ``[N, 1]`` of packs ``[N, in_features]``; positive means real."""
        logits: Tensor = self.layers(packs)
        return logits
