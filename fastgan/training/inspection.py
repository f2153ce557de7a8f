"""Checks before the first step that both networks accept their inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastgan.models.labels import classes_of
from fastgan.restoring import tensors_restored
from fastgan.training.labels import bound
from fastgan.training.source import Source
from fastgan.training.state import TrainingState, packed
from fastgan.training.step import autocast

_SEED = 0
_WITH_LABELS = " with labels"


def check_networks(state: TrainingState, source: Source) -> None:
    """Generate a sample, and pass a batch of real ones through D, without an effect on training.

    Raises:
        ValueError: if a network does not fit the data, the config or the other one.
        TypeError: if one returns no tensor of floats.
    """
    for name, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        classes = classes_of(network)
        if classes and not state.config.labels:
            raise ValueError(
                f"{name} has num_classes={classes}, but labels is False; train with labels=True and data "
                "with labels, or without classes"
            )
    rng = torch.Generator(state.device).manual_seed(_SEED)
    real = source.look(state.share, rng)[: state.share]
    labels = None if source.labels is None else source.labels[: state.share]
    if state.config.augment and real.dim() != 4:
        raise ValueError(
            f"augment is True, which is for images, and samples have shape {list(real.shape[1:])}; omit it"
        )
    _check_generator(state, real, labels)
    # conditions of a table's rows are among their columns
    _check_discriminator(state, packed(real, state.config.pack), labels if state.config.labels else None)


def _check_generator(state: TrainingState, real: Tensor, labels: Tensor | None) -> None:
    latent_dim = state.config.latent_dim
    latent = torch.zeros(1, latent_dim, device=state.device, dtype=state.dtype)
    one = None if labels is None else labels[:1]
    takes = f"latent_dim={latent_dim}{_WITH_LABELS if state.config.labels else ''}"
    made = _output_of("generator", takes, lambda: state.look(latent, one))
    if made.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"generator makes samples of shape {list(made.shape[1:])}, "
            f"expected {list(real.shape[1:])} as in data"
        )


def _check_discriminator(state: TrainingState, shown: Tensor, labels: Tensor | None) -> None:
    pack = state.config.pack
    discriminator = bound(state.discriminator, labels)
    takes = f"{'packs of ' + str(pack) + ' ' if pack > 1 else ''}samples of shape {list(shown.shape[1:])}"
    takes += _WITH_LABELS if state.config.labels else ""
    devices = [state.device] if state.device.type == "cuda" else []
    with torch.random.fork_rng(devices), tensors_restored(state.discriminator), autocast(state):
        outputs = _output_of("discriminator", takes, lambda: discriminator(shown))
    if not outputs.requires_grad:
        raise ValueError(
            "discriminator's outputs have no gradient; remove no_grad() and detach() from its forward"
        )
    if state.config.objective == "began" and outputs.shape != shown.shape:
        raise ValueError(
            f"discriminator returns outputs of shape {list(outputs.shape)} for samples of shape "
            f"{list(shown.shape)}, expected the same shape: the began objective needs an autoencoder"
        )
    if outputs.numel() == 0:
        raise ValueError(f"discriminator returns no logit for {takes}, expected at least one")
    if not torch.isfinite(outputs).all():
        raise ValueError(f"discriminator returns nan or infinities for {takes}, expected finite outputs")


def _output_of(name: str, takes: str, call: Callable[[], object]) -> Tensor:
    try:
        made = call()
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} does not take {takes}: {reason}") from error
    if not isinstance(made, Tensor):
        raise TypeError(f"{name} returns a {type(made).__name__}, expected a Tensor of floats")
    if not made.is_floating_point():
        raise TypeError(f"{name} returns a Tensor of {made.dtype}, expected floats")
    return made
