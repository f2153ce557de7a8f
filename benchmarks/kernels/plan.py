"""Lists what the cases would compile, without compiling, to detect a stale docs/kernels.md.

The compiled code depends on the kernels' source, on dtypes, constants, warps and stages of the launches, on
the target, and on Triton's version. The fingerprint covers all of these but the version.
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
    """The document's rows, the kernels and the fingerprint for the simulated GPU."""
    # A launch compiles nothing: it caches the Triton function itself instead of a compiled kernel.
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
    """(module, name, value) of everything that the backend's modules define or import."""
    for module in sorted(name for name in sys.modules if name.startswith("fastgan.kernels.triton")):
        for name, value in sorted(vars(sys.modules[module]).items()):
            yield module, name, value


def _kernels() -> set[str]:
    """The names of all kernels, including those that no case launches."""
    kernels = (value for *_, value in _in_modules() if isinstance(value, Kernel | KernelOfTensors))
    return {kernel.jit.fn.__name__ for kernel in kernels}


def sources() -> Iterator[tuple[str, str]]:
    """Name and code of every function that Triton compiles, and of the module constants that they use."""
    for module, name, value in _in_modules():
        if isinstance(value, triton.language.constexpr):
            yield name, repr(value.value)
        function = getattr(getattr(value, "jit", value), "fn", None)
        if inspect.isfunction(function) and function.__module__ == module:
            yield name, code_of(inspect.getsource(function))


_BETWEEN = (tokenize.COMMENT, tokenize.NL, token.NEWLINE, token.ENDMARKER)
_STARTS_A_LINE = (token.NEWLINE, token.INDENT, token.DEDENT)


def code_of(source: str) -> str:
    """The source without comments, docstrings and formatting."""
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
