"""scikit-learn's digits: 1,797 grey images of handwritten digits, 8 pixels a side."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from fastgan.data.arrays import from_array
from fastgan.data.dataset import Dataset, Labelled


def digits() -> Dataset:
    """Read the images, which are part of scikit-learn."""
    bunch = load_digits()
    samples = from_array("digits", bunch.images.astype(np.float32) / 16).samples
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return Dataset("digits", samples, labelled=Labelled("digits", samples, labels), labels=labels)
