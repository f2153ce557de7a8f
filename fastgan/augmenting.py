"""Differentiable augmentation of the images that D sees, with a fixed or an adaptive probability.

With few images D learns them by heart, and its gradient no longer helps G. This is prevented by augmenting
real and generated images before D sees them, and passing G's gradient through the augmentation (Zhao et al.
2020, arXiv:2006.10738; Karras et al. 2020, arXiv:2006.06676)::

    probability = AdaptiveProbability()
    for real in loader:
        logits = D(augment(real, probability.value))
        loss = fastgan.discriminator_loss(logits, D(augment(fake.detach(), probability.value)))
        ...
        probability.adapt(logits.detach().sign().mean(), len(real))
        loss = fastgan.generator_loss(D(augment(fake, probability.value)))
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DRAWN = 12
"""Random numbers for each image."""

_OPERATIONS = 5
_BRIGHTNESS = 0.5  # most that is added; images have values in [-1, 1]
_CONTRAST = (0.5, 1.5)
_SATURATION = (0.0, 2.0)
_SHIFT = 1 / 8  # most, of height and width
_CUT = 1 / 2  # of height and width
_INTERVAL = 4  # steps between two changes of the probability


def augment(images: Tensor, probability: Tensor | float = 1.0, numbers: Tensor | None = None) -> Tensor:
    """Change the brightness, saturation and contrast of images, shift them and cut out a rectangle.

    Each of the five is applied to each image with the given probability. Strengths are those of Zhao et al.
    (2020): brightness up to ±0.5, saturation times 0 to 2, contrast times 0.5 to 1.5, a shift by up to an
    eighth of height and width, and a rectangle of half of them, both rounded to whole pixels. Pixels that
    come in or are cut out are 0, the grey between black and white. Saturation changes nothing in images of
    one channel.

    With a probability near 1, G may learn to make augmented images (Karras et al. 2020, section 2.2).

    The result may be differentiated any number of times. Nothing waits for the device.

    Args:
        images: float ``[N, C, H, W]``, with values in [-1, 1].
        probability: from 0 to 1; a number, or a scalar on the device of the images.
        numbers: ``[N, DRAWN]``, uniform in [0, 1), on the device of the images; None to draw them from
            torch's random generator.

    Returns:
        Contiguous images of the same shape and dtype. Values may leave [-1, 1].

    Raises:
        TypeError: ``images`` are not floats.
        ValueError: ``images``, ``numbers`` or a probability on the device have another shape, or the
            probability is a number that is not from 0 to 1.

    >>> augment(torch.zeros(8, 3, 32, 32)).shape
    torch.Size([8, 3, 32, 32])
    """
    if numbers is None:
        numbers = torch.rand(len(images), DRAWN, device=images.device)
    _check(images, probability, numbers)
    brightness, saturation, contrast, shift, cut = (numbers[:, :_OPERATIONS] < probability).unbind(1)
    strengths = numbers[:, _OPERATIONS:]
    colored = _colored(
        images,
        torch.where(brightness, _between(-_BRIGHTNESS, _BRIGHTNESS, strengths[:, 0]), 0.0),
        torch.where(saturation, _between(*_SATURATION, strengths[:, 1]), 1.0),
        torch.where(contrast, _between(*_CONTRAST, strengths[:, 2]), 1.0),
    )
    return _placed(colored, shift, strengths[:, 3:5], cut, strengths[:, 5:7])


class AdaptiveProbability:
    """A probability for :func:`augment` that follows how sure D is of real images (Karras et al. 2020).

    Their heuristic is r = E[sign(D(x))] of real images x, over four steps (arXiv:2006.06676, section 3.1). It
    is 0 if D cannot tell them from generated ones, and 1 if D knows them all. While r is above the target,
    the probability rises at a constant rate; below it falls.

    Args:
        target: the r to keep.
        images: number of real images, over all processes, in which the probability moves from 0 to 1.
        device: of the images.

    Attributes:
        value: float32 scalar on the device, from 0 to 1.

    Raises:
        ValueError: ``target`` is not between -1 and 1, or ``images`` is not positive.
    """

    def __init__(
        self, target: float = 0.6, images: int = 500_000, device: torch.device | str | None = None
    ) -> None:
        if not -1 < target < 1:
            raise ValueError(f"target is {target}, expected a number between -1 and 1")
        if not 0 < images < math.inf:
            raise ValueError(f"images is {images}, expected a positive number")
        self.target, self.images = target, images
        self.value = torch.zeros((), device=device, dtype=torch.float32)
        self._signs = torch.zeros_like(self.value)  # the sum of r since the last change
        self._steps = torch.zeros((), device=device, dtype=torch.int64)  # since the last change

    @torch.no_grad()
    def adapt(self, r: Tensor, images: int) -> None:
        """Count a step; every fourth one changes the probability. Nothing waits for the device.

        With several processes, r is their mean and ``images`` their sum.

        Args:
            r: scalar, the mean sign of D's logits of real images, as augmented.
            images: number of real images in the step.
        """
        self._signs += r
        self._steps += 1
        due = self._steps == _INTERVAL
        change = torch.sign(self._signs / _INTERVAL - self.target) * (images * _INTERVAL / self.images)
        self.value.add_(torch.where(due, change, 0.0)).clamp_(0, 1)
        self._signs.masked_fill_(due, 0.0)  # also if it is nan
        self._steps.masked_fill_(due, 0)

    def tensors(self) -> dict[str, Tensor]:
        """The state by name, for checkpoints; not copies."""
        return {"value": self.value, "signs": self._signs, "steps": self._steps}


def _check(images: Tensor, probability: Tensor | float, numbers: Tensor) -> None:
    if images.dim() != 4:
        raise ValueError(f"images have shape {list(images.shape)}, expected [N, C, H, W]")
    if not images.is_floating_point():
        raise TypeError(f"images are {images.dtype}, expected floats in [-1, 1]")
    if isinstance(probability, Tensor):
        if probability.dim() != 0:
            raise ValueError(f"probability has shape {list(probability.shape)}, expected a scalar")
    elif not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}, expected a number from 0 to 1")
    if numbers.shape != (len(images), DRAWN):
        raise ValueError(f"numbers have shape {list(numbers.shape)}, expected {[len(images), DRAWN]}")


def _between(low: float, high: float, numbers: Tensor) -> Tensor:
    return low + (high - low) * numbers


def _colored(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Add the brightness; then scale the distance from the grey of each pixel, and from that of the image.

    The three are one linear function of a pixel, its grey and the image's, so that the image is read once.
    """
    grey = images.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    b, s, c = (each[:, None, None, None].to(images.dtype) for each in (brightness, saturation, contrast))
    return images * (c * s) + (grey * (c * (1 - s)) + (mean * (1 - c) + b))


def _placed(images: Tensor, shift: Tensor, shifts: Tensor, cut: Tensor, centres: Tensor) -> Tensor:
    """Shift images and cut rectangles out of them.

    Args:
        images: ``[N, C, H, W]``.
        shift, cut: bool ``[N]``, whether an image is shifted, and whether it is cut.
        shifts, centres: ``[N, 2]`` in [0, 1), how far and where, along rows and columns.
    """
    sources, is_seen, is_cut = [], torch.ones_like(cut)[:, None, None], cut[:, None, None]
    for axis, size in enumerate(map(int, images.shape[2:])):
        most, length = int(size * _SHIFT + 0.5), int(size * _CUT + 0.5)
        place = torch.arange(size, device=images.device)
        source = place - (shift * (_whole(shifts[:, axis], 2 * most + 1) - most))[:, None]
        first = _whole(centres[:, axis], size + 1 - length % 2)[:, None] - length // 2
        along = 2 - axis  # of [N, H, W], the other axis
        is_seen = is_seen & ((source >= 0) & (source < size)).unsqueeze(along)
        is_cut = is_cut & ((place >= first) & (place < first + length)).unsqueeze(along)
        sources.append(source.clamp(0, size - 1))
    rows, columns = sources
    pixels = (rows[:, :, None] * int(images.shape[3]) + columns[:, None, :]).flatten(1)
    moved = (
        images.flatten(2)
        .gather(2, pixels[:, None].expand(-1, images.shape[1], -1))
        .unflatten(2, images.shape[2:])
    )
    return torch.where((is_seen & ~is_cut)[:, None], moved, 0.0)


def _whole(numbers: Tensor, count: int) -> Tensor:
    """int64, from 0 to ``count - 1``; a product of a number in [0, 1) may round up."""
    return (numbers * count).long().clamp(max=count - 1)
