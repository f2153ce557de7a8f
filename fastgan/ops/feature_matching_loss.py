"""The feature matching loss: the L1 distance between D's feature maps of real and generated samples."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.kernels.native import PLAIN
from fastgan.ops.arguments import DTYPES, check_device, check_finite, check_same_shape, check_tensor
from fastgan.ops.l1_loss import l1_loss
from fastgan.ops.logit_loss import dtype_of_loss, weight_of
from fastgan.ops.routing import autocast_dtype

Features = Sequence[Tensor] | Sequence["Features"]
Weights = Sequence[float] | Sequence["Weights"]
_SEQUENCES = (list, tuple)


def feature_matching_loss(
    real_features: Features,
    fake_features: Features,
    *,
    over_maps: str = "sum",
    over: str = "sum",
    factor: float = 1.0,
    weights: Weights | None = None,
    with_last: bool = True,
    detach_real: bool = True,
) -> Tensor:
    r"""The mean absolute difference of each pair of feature maps, summed over all maps of all discriminators.

    .. math:: L = c \sum_k \sum_l w_{k l} \operatorname{mean} |D_k^l(x) - D_k^l(G(z))|

    One launch reads all maps, and one computes all gradients. Only the maps themselves are kept for the
    backward pass; PyTorch keeps the signs of the differences too. (Larsen et al. 2016, arXiv:1512.09300;
    Kumar et al. 2019, arXiv:1910.06711, eq. 4; Kong et al. 2020, HiFi-GAN, arXiv:2010.05646, eq. 5 and 8,
    with a factor of 2.)

    Args:
        real_features: feature maps of real samples: a list with the maps of a discriminator, or a list of
            such lists, nested as you like, with a list for each discriminator. Maps have any shape and
            strides, and are float64, float32, float16 or bfloat16.
        fake_features: maps of generated samples, nested in the same way and with the same shapes.
        over_maps: "sum" or "mean" over the maps of a discriminator.
        over: "sum" or "mean" over discriminators.
        factor: c, of the whole loss.
        weights: factors, nested as the maps are; a number in place of a list is the factor of each map in
            it. So ``[1.0, 0.5]`` are the factors of two discriminators. Default: 1.
        with_last: count the last map of each discriminator, which often is its logits.
        detach_real: compute no gradients for ``real_features``.

    Returns:
        A scalar of the maps' dtype, the wider one if dtypes differ; float32 under autocast for half types. A
        nan in any map makes it nan.

    Raises:
        TypeError: a feature map is no float tensor, or the dtypes of a pair differ outside autocast.
        ValueError: the lists are empty or nested differently, shapes or devices differ, or another argument
            is invalid. The message says where in the nesting: ``fake_features[1][0]``.

    >>> real, fake = [[torch.ones(2, 3), torch.ones(4)]], [[torch.zeros(2, 3), torch.ones(4)]]
    >>> feature_matching_loss(real, fake, factor=2.0)
    tensor(2.)
    """
    check_finite(factor, "factor")
    discriminators = list(_discriminators(real_features, fake_features, 1.0 if weights is None else weights))
    weight = factor * weight_of(over, len(discriminators))
    pairs: list[_Pair] = []
    shares: list[float] = []
    for maps in discriminators:
        counted = maps if with_last else maps[:-1]
        if not counted:
            raise ValueError(
                f"fake_features{maps[0].place} is the only feature map of its discriminator, and "
                "with_last=False leaves it out; leave out that discriminator, or pass with_last=True"
            )
        share = weight * weight_of(over_maps, len(counted), "over_maps")
        pairs += counted
        shares += [share * pair.weight for pair in counted]
    first = pairs[0]
    for pair in pairs:
        if not (pair.fake.is_cpu and first.fake.is_cpu):  # without a call for each map
            check_device(pair.fake, f"fake_features{pair.place}", first.fake, f"fake_features{first.place}")
    return _loss_by_dtype(pairs, shares, detach_real)


class _Pair(NamedTuple):
    """Two feature maps, where they are in the nested lists, and the factor of their distance."""

    real: Tensor
    fake: Tensor
    place: str
    weight: float


def _discriminators(real: Any, fake: Any, weights: Any, place: str = "") -> Iterator[list[_Pair]]:
    """Check two nested lists and their weights; yield the pairs of each discriminator."""
    _check_lists(real, fake, place)
    count = len(real)
    if not isinstance(weights, _SEQUENCES):
        weights = [weights] * count
    elif len(weights) != count:
        raise ValueError(
            f"weights{place} has {len(weights)} elements, expected {count}, as real_features{place}"
        )
    each = [(real[i], fake[i], weights[i], f"{place}[{i}]") for i in range(count)]
    if isinstance(real[0], _SEQUENCES):
        for lists in each:
            yield from _discriminators(*lists)
    else:
        yield [_pair(*maps) for maps in each]


def _check_lists(real: Any, fake: Any, place: str) -> None:
    for name, features in (("real_features", real), ("fake_features", fake)):
        if not isinstance(features, _SEQUENCES):
            raise TypeError(
                f"{name}{place} must be a list of feature maps, or of such lists, but is "
                f"{type(features).__name__}"
            )
    if len(real) != len(fake):
        raise ValueError(
            f"real_features{place} has {len(real)} elements and fake_features{place} has {len(fake)}, "
            "expected the same number"
        )
    if not real:
        raise ValueError(f"real_features{place} and fake_features{place} are empty, expected feature maps")


def _pair(real: Any, fake: Any, weight: Any, place: str) -> _Pair:
    if (
        type(real) in PLAIN
        and type(fake) in PLAIN
        and real.dtype is fake.dtype
        and real.dtype in DTYPES
        and real.shape == fake.shape
        and real.layout is fake.layout is torch.strided
        and real.is_cpu
        and fake.is_cpu
        and weight == 1.0
    ):
        return _Pair(real, fake, place, 1.0)  # without six calls, as there may be a hundred maps
    check_tensor(real, f"real_features{place}")
    check_tensor(fake, f"fake_features{place}")
    if real.dtype is not fake.dtype and autocast_dtype(fake) is not None:
        real, fake = real.float(), fake.float()
    check_same_shape(fake, f"fake_features{place}", real, f"real_features{place}")
    if not isinstance(weight, (int, float)):
        raise TypeError(f"weights{place} must be a number, but is {type(weight).__name__}")
    check_finite(weight, f"weights{place}")
    return _Pair(real, fake, place, weight)


def _loss_by_dtype(pairs: list[_Pair], weights: list[float], detach_real: bool) -> Tensor:
    """The loss, with one launch for each dtype: under autocast some maps may be float32."""
    by_dtype: dict[torch.dtype, list[int]] = {}
    for i, pair in enumerate(pairs):
        by_dtype.setdefault(pair.fake.dtype, []).append(i)
    losses = []
    for group in by_dtype.values():
        real = tuple(pairs[i].real for i in group)
        if detach_real:
            real = tuple(t.detach() if t.requires_grad else t for t in real)
        fake = tuple(pairs[i].fake for i in group)
        losses.append(l1_loss(real, fake, [weights[i] for i in group], True, dtype_of_loss(fake[0])))
    return functools.reduce(torch.add, losses)
