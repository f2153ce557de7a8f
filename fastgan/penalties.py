"""Penalties on the gradient of a network with respect to its input.

Each function returns a scalar to add to D's loss, :func:`path_length` to G's::

    loss = fastgan.discriminator_loss(D(real), D(fake.detach())) + penalties.r1(D, real, 10.0)

Arguments that they share:

- ``discriminator``: D, a module or function of samples ``[N, ...]`` that returns logits of any shape, or a
  list of several, whose penalties are added. Logits of one sample, as of patches, are added up before the
  gradient is taken. If D returns more, pass a function that picks its logits: ``lambda x: D(x)[0]``.
- ``weight``: a factor, by the convention of the paper that each function names.
- ``conditions``: further arguments of D, ``D(samples, *conditions)``, such as labels.
- ``interval`` and ``step``: with an interval of k, the penalty is computed only if ``step`` is a multiple of
  k, and is then k times as large. Otherwise the result is zero and costs nothing. (Lazy regularization:
  Karras et al. 2020, arXiv:1912.04958, section 3.1.)
- ``generator``: the source of random numbers, on the samples' device.

Squares are added up in float32 (float64 for float64 samples), also of half types and under autocast. With a
GradScaler, scale the sum of loss and penalty, as you scale the loss alone.

A D that is wrapped by DistributedDataParallel gets averaged gradients of all its parameters. With plain
PyTorch the last bias gets none, which DistributedDataParallel takes for an error at the next step.

Chains of linear layers with (leaky) ReLU, such as a plain ``nn.Sequential``, are computed and differentiated
twice by fused kernels. Others are differentiated by PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import reference
from fastgan.ops.arguments import check_same_shape, check_tensor
from fastgan.slopes import Discriminators, each_of, logits_of, of_slopes, slope_at, wide, zero_like

__all__ = [
    "approximate_r1",
    "approximate_r2",
    "around",
    "between",
    "dragan",
    "path_length",
    "r1",
    "r2",
    "wgan_gp",
]


def r1(
    discriminator: Discriminators,
    real: Tensor,
    weight: float = 10.0,
    *,
    conditions: Sequence[Any] = (),
    interval: int = 1,
    step: int = 0,
) -> Tensor:
    r"""R1: :math:`\frac{\gamma}{2}\,\mathrm{E}\,|\nabla_x D(x)|^2` at real samples x.

    (Mescheder et al. 2018, arXiv:1801.04406, eq. 9.)

    Args:
        discriminator, conditions, interval, step: see the module.
        real: x, ``[N, ...]``.
        weight: gamma.

    >>> D = torch.nn.Linear(2, 1)
    >>> penalty = r1(D, torch.randn(8, 2), weight=2.0)
    >>> torch.testing.assert_close(penalty, D.weight.square().sum())
    """
    return _zero_centred(discriminator, real, "real", weight, conditions, interval, step)


def r2(
    discriminator: Discriminators,
    fake: Tensor,
    weight: float = 10.0,
    *,
    conditions: Sequence[Any] = (),
    interval: int = 1,
    step: int = 0,
) -> Tensor:
    r"""R2: :func:`r1` at generated samples. They need not be detached.

    (Mescheder et al. 2018, arXiv:1801.04406, eq. 10.)

    Args:
        discriminator, conditions, interval, step: see the module.
        fake: generated samples, ``[N, ...]``.
        weight: gamma.
    """
    return _zero_centred(discriminator, fake, "fake", weight, conditions, interval, step)


def wgan_gp(
    discriminator: Discriminators,
    real: Tensor,
    fake: Tensor,
    weight: float = 10.0,
    *,
    pack: int = 1,
    conditions: Sequence[Any] = (),
    interval: int = 1,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""WGAN-GP: :math:`\lambda\,\mathrm{E}\,(|\nabla_x D(x)| - 1)^2` at interpolated samples x.

    x lies on the line between a real and a generated sample, at a random place. (Gulrajani et al. 2017,
    arXiv:1704.00028, eq. 3.)

    Args:
        discriminator, conditions, interval, step, generator: see the module.
        real, fake: ``[N, ...]``, of one shape.
        weight: lambda.
        pack: consecutive samples that D judges together, as in PacGAN and CTGAN. They share a place on the
            line, and the norm is that of the whole pack.
    """
    _check_weight(weight, interval)
    check_tensor(real, "real")
    check_same_shape(fake, "fake", real, "real")
    _check_pack(real, pack)
    if step % interval:
        return zero_like(real)
    points = between(real, fake, _shares(real, pack, generator))
    return _one_centred(discriminator, points, pack, weight * interval, conditions)


def dragan(
    discriminator: Discriminators,
    real: Tensor,
    weight: float = 10.0,
    *,
    conditions: Sequence[Any] = (),
    interval: int = 1,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""DRAGAN: :math:`\lambda\,\mathrm{E}\,(|\nabla_x D(x)| - 1)^2` around real samples.

    x is a real sample plus uniform noise, as in the authors' code. (Kodali et al. 2017, arXiv:1705.07215,
    section 2.3, where the noise is normal.)

    Args:
        discriminator, conditions, interval, step, generator: see the module.
        real: ``[N, ...]``.
        weight: lambda.
    """
    _check_weight(weight, interval)
    check_tensor(real, "real")
    if step % interval:
        return zero_like(real)
    noise = torch.rand(real.shape, generator=generator, device=real.device, dtype=wide(real))
    points = around(real.detach(), _shares(real, 1, generator), noise).to(real.dtype)
    return _one_centred(discriminator, points, 1, weight * interval, conditions)


def approximate_r1(
    discriminator: Discriminators,
    real: Tensor,
    weight: float = 1.0,
    *,
    noise_std: float = 0.1,
    conditions: Sequence[Any] = (),
    interval: int = 1,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""R1 without second derivatives: :math:`w\,\mathrm{E}\,(D(x) - D(x + \alpha\epsilon))^2`.

    x are real samples, and epsilon is normal. For small alpha the expectation is
    :math:`\alpha^2\,\mathrm{E}\,|\nabla_x D(x)|^2`; there is no division by alpha squared. (Lin et
    al. 2025, arXiv:2501.08316, section 3.4.)

    Args:
        discriminator, conditions, interval, step, generator: see the module.
        real: x, ``[N, ...]``.
        weight: w.
        noise_std: alpha.
    """
    return _approximate(discriminator, real, "real", weight, noise_std, conditions, interval, step, generator)


def approximate_r2(
    discriminator: Discriminators,
    fake: Tensor,
    weight: float = 1.0,
    *,
    noise_std: float = 0.1,
    conditions: Sequence[Any] = (),
    interval: int = 1,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """R2 without second derivatives: :func:`approximate_r1` at generated samples.

    Args:
        discriminator, conditions, interval, step, generator: see the module.
        fake: generated samples, ``[N, ...]``; they need not be detached.
        weight: w.
        noise_std: alpha.
    """
    return _approximate(discriminator, fake, "fake", weight, noise_std, conditions, interval, step, generator)


def path_length(
    synthesis: Callable[[Tensor], Tensor],
    styles: Tensor,
    mean: Tensor,
    weight: float = 2.0,
    *,
    decay: float = 0.99,
    interval: int = 1,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Path length regularization: :math:`\gamma\,\mathrm{E}\,(|J^T_w y| - a)^2` at styles w.

    J is the Jacobian of the images with respect to w, y a normal image, divided by the root of the number of
    pixels as in the authors' code, and a the moving mean of the lengths, a constant for the gradient. (Karras
    et al. 2020, arXiv:1912.04958, eq. 4.)

    Args:
        synthesis: from styles to images ``[N, C, ...]``, such as
            :meth:`fastgan.models.StyleGAN2Generator.synthesize`.
        styles: w, ``[N, D]``, or ``[N, L, D]`` for L layers, whose squared lengths are averaged. The gradient
            also reaches the network that they come from.
        mean: a, a scalar tensor on the device, zero before the first step; updated in place. Save it with the
            networks. Processes do not share it.
        weight: gamma.
        decay: of the moving mean.
        interval, step, generator: see the module.

    >>> mean = torch.zeros(())
    >>> penalty = path_length(lambda w: w.view(-1, 3, 4, 4), torch.randn(8, 48), mean)
    >>> penalty.shape, mean > 0
    (torch.Size([]), tensor(True))
    """
    _check_weight(weight, interval)
    check_tensor(styles, "styles")
    check_tensor(mean, "mean")
    if mean.shape != ():
        raise ValueError(f"mean must be a scalar tensor, but has shape {list(mean.shape)}")
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be from 0 to 1, but is {decay}")
    if step % interval:
        return zero_like(styles)
    if not styles.requires_grad:
        styles = styles.detach().requires_grad_()
    images = synthesis(styles)
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    slope = slope_at(images * noise / math.sqrt(math.prod(images.shape[2:])), "synthesis", styles)
    lengths = _roots(slope.to(wide(slope)).square().sum(-1).reshape(len(styles), -1).mean(1))
    mean.lerp_(lengths.detach().mean().to(mean.dtype), 1 - decay)
    return weight * interval * (lengths - mean).square().mean()


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Points on the lines from each generated sample to a real one (Gulrajani et al., 2017, algorithm 1).

    Args:
        real, fake: ``[N, ...]``.
        share: ``[N, 1, ...]``, uniform in [0, 1): position on the line.
    """
    return reference.between(real, fake, share)


def around(real: Tensor, share: Tensor, noise: Tensor) -> Tensor:
    """Points near the real samples: x + share * std(x) / 2 * noise, as in Kodali et al.'s code.

    Args:
        real: ``[N, ...]``.
        share: ``[N, 1, ...]``, uniform in [0, 1).
        noise: ``[N, ...]``, uniform in [0, 1). In the paper the noise is normal.
    """
    return reference.around(real, share, noise)


def _zero_centred(
    discriminator: Discriminators,
    samples: Tensor,
    name: str,
    weight: float,
    conditions: Sequence[Any],
    interval: int,
    step: int,
) -> Tensor:
    _check_weight(weight, interval)
    check_tensor(samples, name)
    if step % interval:
        return zero_like(samples)

    def penalty(slope: Tensor) -> Tensor:
        return weight * interval / 2 * slope.square().sum() / len(samples)

    return of_slopes(discriminator, samples, conditions, penalty)


def _one_centred(
    discriminator: Discriminators, points: Tensor, pack: int, weight: float, conditions: Sequence[Any]
) -> Tensor:
    def penalty(slope: Tensor) -> Tensor:
        squares = slope.square().reshape(len(points) // pack, -1).sum(1)
        return weight * (_roots(squares) - 1).square().mean()

    return of_slopes(discriminator, points, conditions, penalty)


def _roots(squares: Tensor) -> Tensor:
    """The root is not differentiable at zero; like that of PyTorch's norm, its derivative there is zero."""
    return torch.where(squares > 0, squares, 1.0).sqrt() * (squares > 0)


def _approximate(
    discriminator: Discriminators,
    samples: Tensor,
    name: str,
    weight: float,
    noise_std: float,
    conditions: Sequence[Any],
    interval: int,
    step: int,
    generator: torch.Generator | None,
) -> Tensor:
    _check_weight(weight, interval)
    check_tensor(samples, name)
    if not 0 < noise_std < math.inf:
        raise ValueError(f"noise_std must be positive and finite, but is {noise_std}")
    if step % interval:
        return zero_like(samples)
    x = samples.detach()
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    total = zero_like(samples)
    for each, name_of_d in each_of(discriminator):
        at, near = (logits_of(each, name_of_d, t, conditions) for t in (x, x + noise_std * noise))
        difference = at.to(wide(at)) - near.to(wide(near))
        total = total + weight * interval * difference.square().mean()
    return total


def _check_weight(weight: float, interval: int) -> None:
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight must be finite and not negative, but is {weight}")
    if not isinstance(interval, int) or interval < 1:
        raise ValueError(f"interval must be a positive integer, but is {interval!r}")


def _check_pack(real: Tensor, pack: int) -> None:
    if not isinstance(pack, int) or pack < 1:
        raise ValueError(f"pack must be a positive integer, but is {pack!r}")
    if len(real) % pack:
        raise ValueError(
            f"real has {len(real)} samples, not a multiple of pack, {pack}; choose a batch size that is one"
        )


def _shares(like: Tensor, pack: int, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers ``[N, 1, ...]``, the same for the samples of a pack."""
    shape = (len(like) // pack, *[1] * (like.dim() - 1))
    shares = torch.rand(shape, generator=generator, device=like.device, dtype=wide(like))
    return shares.repeat_interleave(pack, 0) if pack > 1 else shares
