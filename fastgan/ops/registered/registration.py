"""Registers operators, and what several of them check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fastgan.kernels.counters import in_operator
from fastgan.kernels.opaque import opaque
from fastgan.ops.arguments import (
    DTYPES,
    check_scale,
)

_library = torch.library.Library("fastgan", "DEF")
OPERATORS: list[str] = []


def _plain(tensor: Tensor) -> Tensor:
    """Unwrap a tensor subclass without its own dispatch; it reaches the operator unchanged."""
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def register(
    schema: str, check: Callable[..., None], kernel: Callable[..., Any], fake: Callable[..., Any]
) -> None:
    """Define an operator by its schema, argument check, implementation and shape function."""
    name = schema.split("(")[0]
    OPERATORS.append(name)
    _library.define(schema)

    @opaque
    def on_plain_tensors(*arguments: Any) -> Any:
        arguments = tree_map_only(Tensor, _plain, arguments)
        check(*arguments)
        with in_operator():
            return kernel(*arguments)

    def on_fake_tensors(*arguments: Any) -> Any:
        check(*arguments)
        return fake(*arguments)

    _library.impl(name, on_plain_tensors, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fastgan::{name}", on_fake_tensors, lib=_library)


def contiguous_like(tensor: Tensor) -> Tensor:
    return tensor.new_empty(tensor.shape)


def check_scalar(grad: Tensor, like: Tensor) -> None:
    check_scale(grad, like, "grad")
    if grad.dim():
        raise ValueError(f"grad must have no dimensions, but has shape {tuple(grad.shape)}")


def check_result_dtype(dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        raise TypeError(f"dtype must be float32, bfloat16, float16 or float64, but is {dtype}")
