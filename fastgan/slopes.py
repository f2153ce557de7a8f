"""The gradient of a discriminator's logits with respect to its input, for penalties on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from fastgan.chains import one_call
from fastgan.ops.routing import Function

Discriminator = Callable[..., Tensor]
Discriminators = Discriminator | Sequence[Discriminator]


def of_slopes(
    discriminator: Discriminators,
    samples: Tensor,
    conditions: Sequence[Any],
    penalty: Callable[[Tensor], Tensor],
) -> Tensor:
    """The penalties of all discriminators, each a function of the gradient with respect to the samples."""
    total = zero_like(samples)
    for each, name in each_of(discriminator):
        if isinstance(each, nn.Module):
            _warn_of_batch_statistics(each, name)
        x = samples.detach().requires_grad_()
        outputs = logits_of(each, name, x, conditions)
        slope = slope_at(outputs, name, x)
        value = penalty(slope.to(wide(slope)))
        if isinstance(each, DistributedDataParallel):
            value = _Reaching.apply(value, outputs)
        total = total + value
    return total


def slope_at(outputs: Tensor, name: str, x: Tensor) -> Tensor:
    """The gradient of the sum of ``outputs``, with a graph."""
    if not torch.is_grad_enabled():
        raise RuntimeError(
            "a penalty needs gradients, which are disabled here; call it outside torch.no_grad()"
        )
    slope: Tensor | None = None
    if outputs.requires_grad:
        (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=True, allow_unused=True)
    if slope is None:
        raise ValueError(
            f"the output of {name} does not depend on its input, so it has no gradient to penalize; check "
            "that it does not detach its input and does not run under torch.no_grad()"
        )
    return slope


class _Reaching(Function):
    """Returns a penalty whose backward also reaches all that D's outputs come from, with zeros.

    So DistributedDataParallel sees a gradient of every parameter. 0 * outputs.sum() would be nan if an output
    is infinite.
    """

    @staticmethod
    def forward(ctx: Any, penalty: Tensor, outputs: Tensor) -> Tensor:
        ctx.like = outputs.shape, outputs.dtype
        return penalty.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        shape, dtype = ctx.like
        return grad, torch.zeros(shape, dtype=dtype, device=grad.device)


def each_of(discriminator: Discriminators) -> list[tuple[Discriminator, str]]:
    """Each discriminator with its name in messages."""
    discriminators: list[Discriminator] = [discriminator]  # type: ignore[list-item]
    names = ["discriminator"]
    if isinstance(discriminator, (list, tuple, nn.ModuleList)):
        discriminators = list(discriminator)
        names = [f"discriminator[{i}]" for i in range(len(discriminators))]
    if not discriminators:
        raise ValueError("discriminator is an empty list, expected at least one discriminator")
    for each, name in zip(discriminators, names, strict=True):
        if not callable(each):
            raise TypeError(f"{name} must be a module or a function, but is {type(each).__name__}")
    return list(zip(discriminators, names, strict=True))


def logits_of(discriminator: Discriminator, name: str, x: Tensor, conditions: Sequence[Any]) -> Tensor:
    call = None if conditions else one_call(discriminator)
    outputs = discriminator(x, *conditions) if call is None else call(x)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"{name} returned a {type(outputs).__name__}, expected a tensor of logits; if it returns more "
            "than logits, pass a function that picks them, such as lambda x: D(x)[0]"
        )
    return outputs


_warned: WeakSet[nn.Module] = WeakSet()


def _warn_of_batch_statistics(discriminator: nn.Module, name: str) -> None:
    """Warn once for each D."""
    if discriminator in _warned:
        return
    for place, layer in discriminator.named_modules():
        if isinstance(layer, _BatchNorm) and layer.training:
            _warned.add(discriminator)
            warnings.warn(
                f"{name} normalizes its batch in {type(layer).__name__} '{place}', so the gradient of one "
                "sample's logit reaches all samples and the penalty is not what the paper defines; use "
                "instance norm, layer norm or none",
                UserWarning,
                stacklevel=5,
            )
            return


def wide(tensor: Tensor) -> torch.dtype:
    """The dtype in which squares are added up."""
    return torch.promote_types(tensor.dtype, torch.float32)


def zero_like(samples: Tensor) -> Tensor:
    return torch.zeros((), device=samples.device, dtype=wide(samples))
