"""Triton's interpreter, at twice its speed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace


def patch_the_language_once() -> None:
    """At each call of each function the interpreter looks through all of triton.language for what it must
    replace, and after a kernel puts it back. Here what it once replaced stays replaced."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang
    patched = set()

    def once(function: Callable[..., object]) -> SimpleNamespace:
        if function.__module__ not in patched:
            patched.add(function.__module__)
            patch(function)
        return SimpleNamespace(restore=lambda: None)

    interpreter._patch_lang = once
