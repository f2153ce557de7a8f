"""What the cases would compile, found without compiling it: whether docs/kernels.md is stale.

A compiled kernel follows from the source of the kernels, from the dtypes, constants, warps and stages it is
launched with, from the target, and from the version of Triton. All but the last make the fingerprint.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import sys
import token
import tokenize
from collections.abc import Iterator
from typing import Any

import triton
from triton.runtime.jit import JITFunction

from benchmarks.kernels.cases import CASES, kernels_of
from fastgan.kernels.triton.launch import Kernel, KernelOfTensors


def plan() -> dict[str, Any]:
    """What the GPU that this process pretends to have gets: rows as in the document, kernels, fingerprint."""
    # A launch compiles nothing, and keeps the Triton function itself for what was compiled of it.
    JITFunction.__getitem__ = lambda self, _: lambda *_, **__: self
    rows, launched = [], []
    for case in CASES:
        for dtype in case.dtypes:
            for tile, kernel, key in kernels_of(case, dtype, every_candidate=True):
                rows.append([case.name, str(dtype).removeprefix("torch."), tile, str(key[1])])
                launched.append((kernel.jit.fn.__name__, key))
    made_of = repr((rows, launched, list(sources())))
    return {
        "rows": rows,
        "launched": sorted({name for name, _ in launched}),
        "kernels": sorted(_kernels()),
        "fingerprint": hashlib.sha256(made_of.encode()).hexdigest()[:16],
    }


def _in_modules() -> Iterator[tuple[str, str, Any]]:
    """Module, name and value of everything that the backend's modules define or import."""
    for module in sorted(name for name in sys.modules if name.startswith("fastgan.kernels.triton")):
        for name, value in sorted(vars(sys.modules[module]).items()):
            yield module, name, value


def _kernels() -> set[str]:
    """The names of all kernels, launched or not."""
    kernels = (value for *_, value in _in_modules() if isinstance(value, Kernel | KernelOfTensors))
    return {kernel.jit.fn.__name__ for kernel in kernels}


def sources() -> Iterator[tuple[str, str]]:
    """Name and code of everything that Triton compiles, and the constants it takes from around it."""
    for module, name, value in _in_modules():
        if isinstance(value, triton.language.constexpr):
            yield name, repr(value.value)
        function = getattr(getattr(value, "jit", value), "fn", None)
        if inspect.isfunction(function) and function.__module__ == module:
            yield name, code_of(inspect.getsource(function))


_BETWEEN = (tokenize.COMMENT, tokenize.NL, token.NEWLINE, token.ENDMARKER)
_STARTS_A_LINE = (token.NEWLINE, token.INDENT, token.DEDENT)


def code_of(source: str) -> str:
    """The source without comments, docstrings and layout."""
    kept, before = [], token.NEWLINE
    for each in tokenize.generate_tokens(io.StringIO(source).readline):
        is_docstring = each.type == token.STRING and before in _STARTS_A_LINE
        if each.type == token.INDENT:
            kept.append("{")
        elif each.type == token.DEDENT:
            kept.append("}")
        elif each.type not in _BETWEEN and not is_docstring:
            kept.append(each.string)
        if each.type not in (tokenize.COMMENT, tokenize.NL):
            before = each.type
    return " ".join(kept)
