"""Stacked digits: three random digits as the channels of one image, which gives 1,000 modes.

The mode is the number with these three digits (stacked MNIST: Metz et al., 2017; Srivastava et al., 2017).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from fastgan.data.dataset import Dataset, Labelled
from fastgan.data.digits import digits
from fastgan.data.mnist import is_at_hand, mnist

SAMPLES = 50_000
CHANNELS = 3
_DATA_SEED = 0  # the data set is the same in every run


def stacked(data_dir: Path | None) -> Dataset:
    """Stack MNIST's digits if they are in ``data_dir``, else scikit-learn's of 8x8 pixels, with a warning.

    Args:
        data_dir: as for :func:`fastgan.data.mnist.mnist`, but nothing is fetched.
    """
    return stack(_digits(data_dir))


def stack(single: Labelled) -> Dataset:
    """Stack grey images, drawn with replacement. The label is the mode."""
    rng = torch.Generator().manual_seed(_DATA_SEED)
    rows = torch.randint(len(single.images), (SAMPLES, CHANNELS), generator=rng)
    classes = int(single.labels.max()) + 1
    places = classes ** torch.arange(CHANNELS - 1, -1, -1)
    labels = (single.labels[rows] * places).sum(1)
    return Dataset("stacked", single.images.squeeze(1)[rows], labelled=single, labels=labels)


def _digits(data_dir: Path | None) -> Labelled:
    if is_at_hand(data_dir):
        data = mnist(data_dir)
    else:
        where = data_dir or "the cache of downloads"
        warnings.warn(
            f"stacked: {where} holds no MNIST with labels; stacks scikit-learn's 8x8 digits", stacklevel=2
        )
        data = digits()
    assert data.labelled is not None
    return data.labelled
