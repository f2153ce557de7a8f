"""How kernels know dtypes: by a number, and by the dtype that they compute in."""

from __future__ import annotations

from typing import TypeVar

import torch

Key = TypeVar("Key")


class Codes(dict[Key, int]):
    """A number for each key; another key is the caller's mistake."""

    def __init__(self, of: str, numbers: dict[Key, int]) -> None:
        super().__init__(numbers)
        self.of = of

    def __missing__(self, key: Key) -> int:
        raise ValueError(f"{self.of} must be one of {', '.join(map(str, self))}, but is {key}")


# DType of csrc/types.h
DTYPES = Codes("a kernel's dtype", {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3})


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """In which kernels on this dtype compute."""
    return torch.float64 if dtype is torch.float64 else torch.float32
