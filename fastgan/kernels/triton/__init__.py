"""The Triton kernels: every operation on any GPU that Triton serves, without a compiler.

Importing this package imports Triton; fastgan/kernels/__init__.py does so where a tensor asks for it.
"""

from fastgan.kernels.optional import mlp, mlp_backward
from fastgan.kernels.triton.adam import adam
from fastgan.kernels.triton.availability import why_not
from fastgan.kernels.triton.bias_leaky_relu import bias_leaky_relu, bias_leaky_relu_backward
from fastgan.kernels.triton.draw import draw
from fastgan.kernels.triton.head import head_loss, head_loss_and_grad, head_loss_backward
from fastgan.kernels.triton.layers import (
    dgrad,
    dgrad_leaky_relu,
    linear,
    linear_leaky_relu,
    linear_leaky_relu_backward,
    wgrad,
)
from fastgan.kernels.triton.loss_terms import (
    loss_backward,
    loss_backward_from,
    loss_terms,
    loss_terms_backward,
)
from fastgan.kernels.triton.losses import loss, loss_and_grad, loss_keeping_grads
from fastgan.kernels.triton.reconstruction import (
    reconstruction_loss,
    reconstruction_loss_and_grad,
    reconstruction_loss_backward,
    reconstruction_terms,
)
from fastgan.kernels.triton.record import record

__all__ = [
    "adam",
    "bias_leaky_relu",
    "bias_leaky_relu_backward",
    "dgrad",
    "dgrad_leaky_relu",
    "draw",
    "head_loss",
    "head_loss_and_grad",
    "head_loss_backward",
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
