"""The fused operations. One file each: the function, its plain-PyTorch reference, its gradient."""

from fastgan.ops import registered as registered
from fastgan.ops.bias_leaky_relu import bias_leaky_relu, bias_leaky_relu_reference
from fastgan.ops.discriminator_head import (
    discriminator_head_loss,
    discriminator_head_loss_reference,
    discriminator_head_loss_value_and_grad,
)
from fastgan.ops.discriminator_loss import (
    discriminator_loss,
    discriminator_loss_reference,
    discriminator_loss_value_and_grad,
)
from fastgan.ops.generator_loss import (
    generator_loss,
    generator_loss_reference,
    generator_loss_value_and_grad,
)
from fastgan.ops.labelled_loss import labelled_loss, labelled_loss_reference
from fastgan.ops.linear_leaky_relu import linear_leaky_relu, linear_leaky_relu_reference
from fastgan.ops.mlp import mlp, mlp_reference
from fastgan.ops.reconstruction_loss import (
    reconstruction_loss,
    reconstruction_loss_reference,
    reconstruction_loss_value_and_grad,
)
from fastgan.ops.relativistic_loss import (
    relativistic_loss,
    relativistic_loss_reference,
    relativistic_loss_value_and_grad,
)

__all__ = [
    "bias_leaky_relu",
    "bias_leaky_relu_reference",
    "discriminator_head_loss",
    "discriminator_head_loss_reference",
    "discriminator_head_loss_value_and_grad",
    "discriminator_loss",
    "discriminator_loss_reference",
    "discriminator_loss_value_and_grad",
    "generator_loss",
    "generator_loss_reference",
    "generator_loss_value_and_grad",
    "labelled_loss",
    "labelled_loss_reference",
    "linear_leaky_relu",
    "linear_leaky_relu_reference",
    "mlp",
    "mlp_reference",
    "reconstruction_loss",
    "reconstruction_loss_reference",
    "reconstruction_loss_value_and_grad",
    "relativistic_loss",
    "relativistic_loss_reference",
    "relativistic_loss_value_and_grad",
]
