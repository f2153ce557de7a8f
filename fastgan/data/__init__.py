"""Data sets: a tensor of samples, with facts about them."""

from fastgan.data.dataset import DataError, Dataset, Labelled, Modes
from fastgan.data.folder import Framing
from fastgan.data.load import BUILT_IN, load
from fastgan.data.streaming import Streaming, stream
from fastgan.data.transform import Transform

__all__ = [
    "BUILT_IN",
    "DataError",
    "Dataset",
    "Framing",
    "Labelled",
    "Modes",
    "Streaming",
    "Transform",
    "load",
    "stream",
]
