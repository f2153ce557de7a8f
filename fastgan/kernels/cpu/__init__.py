"""The C++ backend. pointers.py alone takes addresses; products.py chooses a layer's matrix product."""

from fastgan.kernels.cpu.head import head_loss, head_loss_and_grad, head_loss_backward
from fastgan.kernels.cpu.layers import (
    bias_leaky_relu,
    bias_leaky_relu_backward,
    dgrad,
    dgrad_leaky_relu,
    linear,
    linear_leaky_relu,
    linear_leaky_relu_backward,
    wgrad,
)
from fastgan.kernels.cpu.losses import (
    loss,
    loss_and_grad,
    loss_backward,
    loss_backward_from,
    loss_keeping_grads,
    loss_terms,
    loss_terms_backward,
)
from fastgan.kernels.cpu.mlp import mlp, mlp_backward
from fastgan.kernels.cpu.pointers import _cpu, instruction_set, why_not
from fastgan.kernels.cpu.reconstruction import (
    reconstruction_loss,
    reconstruction_loss_and_grad,
    reconstruction_loss_backward,
    reconstruction_terms,
)
from fastgan.kernels.reference import adam, draw, record

__all__ = [
    "_cpu",
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
