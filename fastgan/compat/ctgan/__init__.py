"""CTGAN 0.12.1: its losses, and its class ``CTGAN``, which needs ``pip install 'fastgan[tabular]'``."""

from fastgan.compat.ctgan.losses import calc_gradient_penalty, discriminator_loss, generator_loss
from fastgan.compat.ctgan.synthesizer import CTGAN

__all__ = ["CTGAN", "calc_gradient_penalty", "discriminator_loss", "generator_loss"]
