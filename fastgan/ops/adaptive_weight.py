"""The weight of VQGAN's adversarial loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.ops.arguments import check_tensor


def adaptive_weight(
    reconstruction_loss: Tensor, adversarial_loss: Tensor, last_layer: Tensor, *, maximum: float = 1e4
) -> Tensor:
    r"""The weight that makes an adversarial loss pull as strongly as the reconstruction loss.

    .. math:: \lambda = \min(\frac{|\nabla_W L_{rec}|}{|\nabla_W L_{adv}| + 10^{-4}},\ \lambda_{max})

    W is the weight of the decoder's last layer. (Esser et al. 2021, arXiv:2012.09841, eq. 7; the constants
    are those of their code, where the eq. has 1e-6 and no maximum.) Each loss is differentiated from the loss
    to W only, and the graphs are kept for your own backward pass. Call D inside ``fastgan.frozen(D)``.

    Args:
        reconstruction_loss: a scalar, such as L1 plus a perceptual loss.
        adversarial_loss: G's loss, a scalar.
        last_layer: W, of any shape: ``decoder.conv_out.weight``.
        maximum: the largest weight.

    Returns:
        A scalar without a graph, float64 if W is float64 and float32 otherwise. Squares are added up in that
        dtype, so float16 gradients do not overflow. If a gradient is nan, so is the weight.

    Raises:
        TypeError: a loss or ``last_layer`` is not a float tensor.
        ValueError: a loss is not a scalar, or ``last_layer`` is not in its graph; or ``maximum`` is negative.

    >>> W = torch.ones(2, requires_grad=True)
    >>> adaptive_weight((3 * W).sum(), W.sum(), W)
    tensor(2.9998)
    """
    if isinstance(last_layer, nn.Module):
        raise TypeError(
            f"last_layer must be a tensor, but is a {type(last_layer).__name__}; pass its weight, "
            "last_layer.weight"
        )
    check_tensor(last_layer, "last_layer")
    if not maximum >= 0:
        raise ValueError(f"maximum must not be negative, but is {maximum}")
    of_reconstruction = _gradient_norm(reconstruction_loss, "reconstruction_loss", last_layer)
    of_adversary = _gradient_norm(adversarial_loss, "adversarial_loss", last_layer)
    return (of_reconstruction / (of_adversary + 1e-4)).clamp(0.0, maximum)


def _gradient_norm(loss: Tensor, name: str, last_layer: Tensor) -> Tensor:
    check_tensor(loss, name)
    if loss.numel() != 1:
        raise ValueError(f"{name} must be a scalar, but has shape {tuple(loss.shape)}")
    grad: Tensor | None = None
    if loss.requires_grad and last_layer.requires_grad:
        (grad,) = torch.autograd.grad(loss, last_layer, retain_graph=True, allow_unused=True)
    if grad is None:
        raise ValueError(
            f"last_layer, of shape {tuple(last_layer.shape)}, is not in the graph of {name}; pass the weight "
            "of the decoder's last layer, and compute both losses from its output with gradients enabled"
        )
    wide = torch.promote_types(grad.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(grad.detach(), dtype=wide)
    return norm
