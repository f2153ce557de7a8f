"""Triton's interpreter, made faster, and alike in every version."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np


def prepare() -> None:
    """Before the first kernel runs."""
    from triton.runtime import interpreter

    interpreter._patch_lang = _once(interpreter._patch_lang)
    get = interpreter._get_np_dtype
    get_once = functools.cache(get)

    def np_dtype(dtype: Any) -> Any:
        """It makes a table of all dtypes for each, and pointers cannot be looked up."""
        return (get if dtype.scalar.is_ptr() else get_once)(dtype.scalar)

    interpreter._get_np_dtype = np_dtype
    builder = interpreter.interpreter_builder
    # each sum of indices a second time in 64 bits; a compiled kernel has that in debug mode alone
    builder.options = replace(builder.options, sanitize_overflow=False)
    builder.create_fma = _round_once(builder.create_fma)


def _round_once(create_fma: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Up to Triton 3.8 the interpreter rounds the product too, which no GPU does."""

    def fma(x: Any, y: Any, z: Any) -> Any:
        if z.data.dtype != np.float32:
            return create_fma(x, y, z)
        exact = np.multiply(x.data, y.data, dtype=np.float64) + z.data
        return type(z)(exact.astype(np.float32), z.dtype.scalar)

    return fma


def _once(patch: Callable[[Callable[..., object]], object]) -> Callable[..., SimpleNamespace]:
    """At each call of each function the interpreter looks through all of triton.language for what it must
    replace, and after a kernel puts it back. Here what it once replaced stays replaced."""
    import triton.language as tl

    patched = set()

    def once(function: Callable[..., object]) -> SimpleNamespace:
        if function.__module__ not in patched:
            patched.add(function.__module__)
            patch(function)
            # Up to Triton 3.6 a number is an array of one element, which NumPy 2.4 takes for no index.
            tl.tensor.__index__ = lambda self: int(self.handle.data.item())
        return SimpleNamespace(restore=lambda: None)

    return once
