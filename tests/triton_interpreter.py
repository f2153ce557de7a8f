"""Triton's interpreter, made faster."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any


def make_faster() -> None:
    from triton.runtime import interpreter

    interpreter._patch_lang = _once(interpreter._patch_lang)
    get = interpreter._get_np_dtype
    get_once = functools.cache(get)

    def np_dtype(dtype: Any) -> Any:
        """It makes a table of all dtypes for each, and pointers cannot be looked up."""
        return (get if dtype.scalar.is_ptr() else get_once)(dtype.scalar)

    interpreter._get_np_dtype = np_dtype
    # each sum of indices a second time in 64 bits; a compiled kernel has that in debug mode alone
    builder = interpreter.interpreter_builder
    builder.options = replace(builder.options, sanitize_overflow=False)


def _once(patch: Callable[[Callable[..., object]], object]) -> Callable[..., SimpleNamespace]:
    """At each call of each function the interpreter looks through all of triton.language for what it must
    replace, and after a kernel puts it back. Here what it once replaced stays replaced."""
    patched = set()

    def once(function: Callable[..., object]) -> SimpleNamespace:
        if function.__module__ not in patched:
            patched.add(function.__module__)
            patch(function)
        return SimpleNamespace(restore=lambda: None)

    return once
