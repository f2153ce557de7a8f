"""Descript's audio codec 1.0.0, ``dac/nn/loss.py``: least squares, and features without the last maps."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fastgan.ops import discriminator_loss, feature_matching_loss, labelled_loss

Maps = list[list[Tensor]]


class GANLoss(nn.Module):
    """``GANLoss``.

    Args:
        discriminator: from a waveform to a list of feature maps for each discriminator, the last one logits.

    ``fake`` and ``real`` are waveforms, or objects with one as ``audio_data``.
    """

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, fake: Any, real: Any) -> tuple[Maps, Maps]:
        """Feature maps of generated and of real samples."""
        return self.discriminator(_waveform(fake)), self.discriminator(_waveform(real))

    def discriminator_loss(self, fake: Any, real: Any) -> Tensor:
        """The sum over discriminators."""
        on_fake, on_real = self.forward(_waveform(fake).detach(), real)
        return discriminator_loss([maps[-1] for maps in on_real], [maps[-1] for maps in on_fake], loss="mse")

    def generator_loss(self, fake: Any, real: Any) -> tuple[Tensor, Tensor]:
        """G's loss, and the feature matching loss."""
        on_fake, on_real = self.forward(fake, real)
        adversarial = labelled_loss([maps[-1] for maps in on_fake], 1.0, loss="mse")
        return adversarial, feature_matching_loss(on_real, on_fake, with_last=False)


def _waveform(audio: Any) -> Tensor:
    waveform: Tensor = getattr(audio, "audio_data", audio)
    return waveform
