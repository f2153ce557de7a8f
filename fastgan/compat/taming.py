"""taming-transformers, ``vqperceptual.py``; latent-diffusion's, SDXL's VAE and LlamaGen's are the same."""

from __future__ import annotations

from torch import Tensor

from fastgan.ops import adaptive_weight, discriminator_loss, generator_loss


def hinge_d_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """``hinge_d_loss``: half the sum."""
    return discriminator_loss(logits_real, logits_fake, loss="hinge") * 0.5


def vanilla_d_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """``vanilla_d_loss``: half the sum of softplus(-r) and softplus(f)."""
    return discriminator_loss(logits_real, logits_fake) * 0.5


def hinge_gen_loss(logit_fake: Tensor) -> Tensor:
    """``hinge_gen_loss`` of LlamaGen; in the others ``g_loss``, the mean of -f."""
    return generator_loss(logit_fake, loss="hinge")


def non_saturating_d_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """``non_saturating_d_loss`` of LlamaGen, with the arguments of BCE in PyTorch's order."""
    return vanilla_d_loss(logits_real, logits_fake)


def non_saturating_gen_loss(logit_fake: Tensor) -> Tensor:
    """``non_saturating_gen_loss`` of LlamaGen, with the arguments of BCE in PyTorch's order."""
    return generator_loss(logit_fake)


def adopt_weight(weight: float, global_step: int, threshold: int = 0, value: float = 0.0) -> float:
    """``adopt_weight``: ``value`` before the step ``threshold``, then ``weight``."""
    return value if global_step < threshold else weight


def calculate_adaptive_weight(
    nll_loss: Tensor, g_loss: Tensor, last_layer: Tensor, discriminator_weight: float = 1.0
) -> Tensor:
    """``calculate_adaptive_weight``; ``discriminator_weight`` is an attribute there."""
    return adaptive_weight(nll_loss, g_loss, last_layer) * discriminator_weight
