"""fastgan: fused kernels and a lean loop for training generative adversarial networks in PyTorch."""

import fastgan._startup  # noqa: F401  first, as Ctrl-C may come while the rest is imported

# isort: split
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from fastgan import nn, ops, penalties
from fastgan.augmenting import AdaptiveProbability, augment
from fastgan.freezing import frozen
from fastgan.fusion import fuse, unfuse
from fastgan.fusion.packages import patch, unpatch
from fastgan.kernels import available_backends
from fastgan.kernels.forcing import use_backend
from fastgan.kernels.spans import Spans
from fastgan.ops import (
    adaptive_weight,
    anti_aliased_snake,
    batch_norm_leaky_relu,
    bias_act,
    bias_leaky_relu,
    discriminator_head_loss,
    discriminator_loss,
    downsample2d,
    feature_matching_loss,
    filter2d,
    generator_loss,
    labelled_loss,
    linear_leaky_relu,
    mlp,
    reconstruction_loss,
    relativistic_loss,
    setup_filter,
    snake,
    span_activations,
    upfirdn2d,
    upsample2d,
)
from fastgan.spectral import join_spectral_norms, separate_spectral_norms

if TYPE_CHECKING:
    from fastgan.training import TrainConfig, Trainer
    from fastgan.training.trained import load

try:
    __version__ = version("fastgan")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = [
    "AdaptiveProbability",
    "Spans",
    "TrainConfig",
    "Trainer",
    "adaptive_weight",
    "anti_aliased_snake",
    "augment",
    "available_backends",
    "batch_norm_leaky_relu",
    "bias_act",
    "bias_leaky_relu",
    "discriminator_head_loss",
    "discriminator_loss",
    "downsample2d",
    "feature_matching_loss",
    "filter2d",
    "frozen",
    "fuse",
    "generator_loss",
    "join_spectral_norms",
    "labelled_loss",
    "linear_leaky_relu",
    "load",
    "mlp",
    "nn",
    "ops",
    "patch",
    "penalties",
    "reconstruction_loss",
    "relativistic_loss",
    "separate_spectral_norms",
    "setup_filter",
    "snake",
    "span_activations",
    "unfuse",
    "unpatch",
    "upfirdn2d",
    "upsample2d",
    "use_backend",
]

# Training pulls in the extra fastgan[train]; the kernels alone do not need it.
_OF_TRAINING = {
    "TrainConfig": "fastgan.training",
    "Trainer": "fastgan.training",
    "load": "fastgan.training.trained",
}


def __getattr__(name: str) -> object:
    if name in _OF_TRAINING:
        try:
            return getattr(import_module(_OF_TRAINING[name]), name)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"fastgan.{name} needs {error.name}: pip install '.[train]' in fastgan's sources"
            ) from error
    raise AttributeError(f"module 'fastgan' has no attribute {name!r}")
