"""The fused operations, one file each: the function and its gradient.

fastgan/kernels/reference.py shows what they compute in plain PyTorch.
"""

from fastgan.ops import registered as registered
from fastgan.ops.adaptive_weight import adaptive_weight
from fastgan.ops.anti_aliased_snake import anti_aliased_snake
from fastgan.ops.batch_norm import batch_norm_leaky_relu
from fastgan.ops.bias_act import bias_act
from fastgan.ops.bias_leaky_relu import bias_leaky_relu
from fastgan.ops.discriminator_head import discriminator_head_loss, discriminator_head_loss_value_and_grad
from fastgan.ops.discriminator_loss import discriminator_loss, discriminator_loss_value_and_grad
from fastgan.ops.feature_matching_loss import feature_matching_loss
from fastgan.ops.generator_loss import generator_loss, generator_loss_value_and_grad
from fastgan.ops.labelled_loss import labelled_loss
from fastgan.ops.linear_leaky_relu import linear_leaky_relu
from fastgan.ops.mlp import mlp
from fastgan.ops.reconstruction_loss import reconstruction_loss, reconstruction_loss_value_and_grad
from fastgan.ops.relativistic_loss import relativistic_loss, relativistic_loss_value_and_grad
from fastgan.ops.snake import snake
from fastgan.ops.span_activations import span_activations
from fastgan.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

__all__ = [
    "adaptive_weight",
    "anti_aliased_snake",
    "batch_norm_leaky_relu",
    "bias_act",
    "bias_leaky_relu",
    "discriminator_head_loss",
    "discriminator_head_loss_value_and_grad",
    "discriminator_loss",
    "discriminator_loss_value_and_grad",
    "downsample2d",
    "feature_matching_loss",
    "filter2d",
    "generator_loss",
    "generator_loss_value_and_grad",
    "labelled_loss",
    "linear_leaky_relu",
    "mlp",
    "reconstruction_loss",
    "reconstruction_loss_value_and_grad",
    "relativistic_loss",
    "relativistic_loss_value_and_grad",
    "setup_filter",
    "snake",
    "span_activations",
    "upfirdn2d",
    "upsample2d",
]
