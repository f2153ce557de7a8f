"""The CUDA backend: kernels in C++, and between them the matrix products of PyTorch's libraries."""

from fastgan.kernels.cuda.adam import adam
from fastgan.kernels.cuda.draw import draw
from fastgan.kernels.cuda.head import head_loss, head_loss_and_grad, head_loss_backward
from fastgan.kernels.cuda.layers import (
    bias_leaky_relu,
    bias_leaky_relu_backward,
    dgrad,
    dgrad_leaky_relu,
    linear,
    linear_leaky_relu,
    linear_leaky_relu_backward,
    wgrad,
)
from fastgan.kernels.cuda.losses import (
    loss,
    loss_and_grad,
    loss_backward,
    loss_backward_from,
    loss_keeping_grads,
    loss_terms,
    loss_terms_backward,
)
from fastgan.kernels.cuda.pointers import why_not
from fastgan.kernels.cuda.reconstruction import (
    reconstruction_loss,
    reconstruction_loss_and_grad,
    reconstruction_loss_backward,
    reconstruction_terms,
)
from fastgan.kernels.cuda.record import record
from fastgan.kernels.optional import mlp, mlp_backward

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
