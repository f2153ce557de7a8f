"""The Triton kernels: every operation on any GPU that Triton serves, without a compiler.

Importing this package imports Triton; fastgan/kernels/__init__.py does so where a tensor asks for it.
"""

from fastgan.kernels.triton.availability import why_not
from fastgan.kernels.triton.losses import loss, loss_and_grad, loss_backward, loss_terms, loss_terms_backward

__all__ = [
    "loss",
    "loss_and_grad",
    "loss_backward",
    "loss_terms",
    "loss_terms_backward",
    "why_not",
]
