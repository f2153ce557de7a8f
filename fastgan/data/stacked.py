"""Stacked digits: three random digits as the channels of one image, so that 1,000 modes can be counted.

Stacked MNIST (Metz et al., 2017; Srivastava et al., 2017): the mode is the number that the three
digits spell.
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
    """Stack MNIST's digits if they are at hand, or else scikit-learn's of 8 pixels a side, with a warning.

    Args:
        data_dir: as for :func:`fastgan.data.mnist.mnist`; nothing is fetched.
    """
    return stack(_digits(data_dir))


def stack(single: Labelled) -> Dataset:
    """Stack images drawn with replacement.

    Args:
        single: grey ones.
    """
    rng = torch.Generator().manual_seed(_DATA_SEED)
    rows = torch.randint(len(single.images), (SAMPLES, CHANNELS), generator=rng)
    return Dataset("stacked", single.images.squeeze(1)[rows], labelled=single)


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
