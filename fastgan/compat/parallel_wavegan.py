"""ParallelWaveGAN 0.6.1, ``parallel_wavegan/losses``: least squares or hinge, generated samples first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fastgan.ops import feature_matching_loss, labelled_loss
from fastgan.ops.logit_loss import Logits

_LOSSES = {"mse": ("mse", "mse"), "hinge": ("hinge", "wasserstein")}  # of D and of G


class GeneratorAdversarialLoss(nn.Module):
    """``GeneratorAdversarialLoss``: logits, or a list with the logits, or maps, of each discriminator."""

    def __init__(self, average_by_discriminators: bool = True, loss_type: str = "mse") -> None:
        super().__init__()
        _check(loss_type)
        self.over = "mean" if average_by_discriminators else "sum"
        self.loss = _LOSSES[loss_type][1]

    def forward(self, outputs: Any) -> Tensor:
        return labelled_loss(_logits(outputs), 1.0, loss=self.loss, over=self.over)


class DiscriminatorAdversarialLoss(nn.Module):
    """``DiscriminatorAdversarialLoss``: the loss of real samples and that of generated ones."""

    def __init__(self, average_by_discriminators: bool = True, loss_type: str = "mse") -> None:
        super().__init__()
        _check(loss_type)
        self.over = "mean" if average_by_discriminators else "sum"
        self.loss = _LOSSES[loss_type][0]

    def forward(self, outputs_hat: Any, outputs: Any) -> tuple[Tensor, Tensor]:
        real = labelled_loss(_logits(outputs), 1.0, loss=self.loss, over=self.over)
        return real, labelled_loss(_logits(outputs_hat), 0.0, loss=self.loss, over=self.over)


class FeatureMatchLoss(nn.Module):
    """``FeatureMatchLoss``: the real maps are detached."""

    def __init__(
        self,
        average_by_layers: bool = True,
        average_by_discriminators: bool = True,
        include_final_outputs: bool = False,
    ) -> None:
        super().__init__()
        self.over_maps = "mean" if average_by_layers else "sum"
        self.over = "mean" if average_by_discriminators else "sum"
        self.with_last = include_final_outputs

    def forward(self, feats_hat: Sequence[Sequence[Tensor]], feats: Sequence[Sequence[Tensor]]) -> Tensor:
        return feature_matching_loss(
            feats, feats_hat, over_maps=self.over_maps, over=self.over, with_last=self.with_last
        )


def _check(loss_type: str) -> None:
    if loss_type not in _LOSSES:
        raise ValueError(f"loss_type must be 'mse' or 'hinge', but is {loss_type!r}")


def _logits(outputs: Any) -> Logits:
    """The last map of each discriminator that returns maps."""
    if isinstance(outputs, Tensor):
        return outputs
    return [each[-1] if isinstance(each, (list, tuple)) else each for each in outputs]
