"""scikit-learn's digits: 1,797 grey images of handwritten digits, 8 pixels a side."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from fastgan.data.arrays import from_array
from fastgan.data.dataset import Dataset


def digits() -> Dataset:
    """Read the images that scikit-learn brings."""
    sixteenths = load_digits().images.astype(np.float32)  # 0 to 16
    return from_array("digits", sixteenths / 16)
