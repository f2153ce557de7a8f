"""Kernels as torch.library operators, for use outside plain eager PyTorch.

:data:`registered` is a backend whose methods call these operators. torch.compile, fake tensors, dispatch
modes and tensor subclasses see an opaque operator with a shape function for each overridden method, and plain
PyTorch for inherited ones. As for every backend, the autograd Functions of this package define the gradients.
PyTorch does not support second derivatives through a compiled function.
"""

from fastgan.ops.registered import images, l1, layers, logit_losses, snake, spans, spectral_norms
from fastgan.ops.registered.backend import registered
from fastgan.ops.registered.registration import OPERATORS

__all__ = [
    "OPERATORS",
    "images",
    "l1",
    "layers",
    "logit_losses",
    "registered",
    "snake",
    "spans",
    "spectral_norms",
]
