"""The C++ backend. pointers.py alone takes addresses; products.py chooses a layer's matrix product."""

from fastgan.kernels.extension.head import head_loss, head_loss_and_grad, head_loss_backward
from fastgan.kernels.extension.layers import (
    bias_leaky_relu,
    bias_leaky_relu_backward,
    dgrad,
    dgrad_leaky_relu,
    linear,
    linear_leaky_relu,
    linear_leaky_relu_backward,
    wgrad,
)
from fastgan.kernels.extension.losses import (
    loss,
    loss_and_grad,
    loss_backward,
    loss_backward_from,
    loss_keeping_grads,
    loss_terms,
    loss_terms_backward,
)
from fastgan.kernels.extension.mlp import mlp, mlp_backward
from fastgan.kernels.extension.pointers import _C, instruction_set, why_not
from fastgan.kernels.extension.reconstruction import (
    reconstruction_loss,
    reconstruction_loss_and_grad,
    reconstruction_loss_backward,
    reconstruction_terms,
)
from fastgan.kernels.reference import adam, draw, record

__all__ = [
    "_C",
    "adam",
    "bias_leaky_relu",
    "bias_leaky_relu_backward",
    "dgrad",
    "dgrad_leaky_relu",
    "draw",
    "head_loss",
    "head_loss_and_grad",
    "head_loss_backward",
    "instruction_set",
    "linear",
    "linear_leaky_relu",
    "linear_leaky_relu_backward",
    "loss",
    "loss_and_grad",
    "loss_backward",
    "loss_backward_from",
    "loss_keeping_grads",
    "loss_terms",
    "loss_terms_backward",
    "mlp",
    "mlp_backward",
    "reconstruction_loss",
    "reconstruction_loss_and_grad",
    "reconstruction_loss_backward",
    "reconstruction_terms",
    "record",
    "wgrad",
    "why_not",
]
