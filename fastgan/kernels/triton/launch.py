"""Launches Triton kernels at a third of the cost of Triton's own launcher.

Triton inspects every argument of every launch: for twelve arguments that takes 8.3 us on a Zen 5 core, and
3.1 us here (benchmarks/bench_launch.py). Kernels take pointers, then numbers, then constants. No number's
value is compiled in, so a new batch size needs no new kernel: the annotation fixes the type, and
``do_not_specialize`` keeps Triton from compiling in that a number is 1 or a multiple of 16. A kernel that
needs a known divisor uses a constant: ``n // BY * BY``.

So compiled variants differ only in dtypes, constants, device, and Triton's assumptions about addresses: they
are multiples of 16 bytes, like those of new tensors, and on AMD no storage is longer than 2 GiB. If an
assumption does not hold, Triton's own launcher runs the kernel.
"""

from __future__ import annotations

import contextlib
import inspect
import linecache
import math
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import knobs
from triton.runtime import driver

INTERPRETING: bool = knobs.runtime.interpret  # TRITON_INTERPRET=1; read when a kernel is defined
MAX_GRID = 2**31 - 1
MOST_TENSORS = 64  # per launch, so that all arguments fit into CUDA's 4 KiB
_MAX_AMD_STORAGE = 2**31 - 1  # bytes; Triton uses 32-bit offsets on AMD

_interpreter_lock = threading.Lock() if INTERPRETING else contextlib.nullcontext()
_Function = Callable[..., None]

KERNELS: list[Kernel] = []


class Kernel:
    """A decorator: a Triton function with its compiled variants.

    Parameters come in this order: pointers; numbers annotated ``tl.int64`` or ``tl.float64``; constants.
    """

    def __init__(self, function: _Function) -> None:
        annotations = function.__annotations__
        self.numbers = [name for name, type in annotations.items() if type in ("tl.int64", "tl.float64")]
        self.jit: Any = triton.jit(function, do_not_specialize=self.numbers)
        self.compiled: dict[tuple[Any, ...], Any] = {}
        KERNELS.append(self)

    def launch(
        self,
        programs: int,
        tensors: Sequence[Tensor | None],
        numbers: Sequence[float],
        constants: tuple[Any, ...],
        num_warps: int = 4,
        num_stages: int = 3,
        maxnreg: int | None = None,
    ) -> None:
        first = tensors[0]
        assert first is not None
        if first.is_cuda and first.get_device() != torch.cuda.current_device():
            with torch.cuda.device(first.get_device()):
                self.launch(programs, tensors, numbers, constants, num_warps, num_stages, maxnreg)
            return
        if programs > MAX_GRID:
            raise ValueError(f"a launch of {programs} blocks is beyond CUDA's limit of {MAX_GRID}")
        grid = (programs, 1, 1)
        addresses = 0
        for t in tensors:
            if t is not None:
                addresses |= t.data_ptr()
        key = (
            first.get_device(),
            num_warps,
            num_stages,
            maxnreg,
            constants,
            *[None if t is None else t.dtype for t in tensors],
        )
        is_cacheable = addresses % 16 == 0 and (not on_amd() or _are_short(tensors))
        compiled = self.compiled.get(key) if is_cacheable else None
        if compiled is not None:
            compiled[grid](*tensors, *numbers, *constants)
            return
        # only NVIDIA's compiler has this option
        limit = {} if maxnreg is None or INTERPRETING or on_amd() else {"maxnreg": maxnreg}
        with _interpreter_lock:
            compiled = self.jit[grid](
                *tensors,
                *numbers,
                *constants,
                num_warps=num_warps,
                num_stages=num_stages,
                enable_fp_fusion=True,
                **limit,
            )
        if is_cacheable and not INTERPRETING:
            self.compiled[key] = compiled


class KernelOfTensors:
    """A kernel for any number of tensors: ``of(count)`` is the variant for ``count`` tensors.

    Triton fixes the number of a kernel's arguments, so each count has a generated kernel. It only calls
    ``function``, with a tuple for each parameter named in ``repeated``.
    """

    def __init__(self, function: _Function, repeated: tuple[str, ...]) -> None:
        self.jit: Any = triton.jit(function)
        self.repeated = repeated
        self.of: Callable[[int], Kernel] = cache(self._make)

    def _make(self, count: int) -> Kernel:
        function = self.jit.fn
        parameters, arguments = [], []
        for each in inspect.signature(function).parameters.values():
            type = "" if each.annotation is each.empty else f": {each.annotation}"
            if each.name in self.repeated:
                names = [f"{each.name}_{i}" for i in range(count)]
                parameters += [name + type for name in names]
                arguments.append(f"({', '.join(names)},)")
            else:
                parameters.append(each.name + type)
                arguments.append(each.name)
        name = function.__name__
        source = f"def {name}({', '.join(parameters)}):\n    function({', '.join(arguments)})\n"
        file = f"<{name} of {count}>"
        linecache.cache[file] = len(source), None, [source], file  # where Triton looks up the source
        scope = {"function": self.jit, "tl": tl, "__name__": function.__module__}
        exec(compile(source, file, "exec"), scope)
        return Kernel(scope[name])


def for_each_tensor(*repeated: str) -> Callable[[_Function], KernelOfTensors]:
    """A decorator: the named parameters become tuples with one element per tensor."""
    return lambda function: KernelOfTensors(function, repeated)


@cache
def on_amd() -> bool:
    return not INTERPRETING and driver.active.get_current_target().backend == "hip"


def _are_short(tensors: Sequence[Tensor | None]) -> bool:
    return all(t is None or t.untyped_storage().size() <= _MAX_AMD_STORAGE for t in tensors)


@cache
def threads() -> int:
    """Threads of a program of four warps. More in the interpreter, whose time depends on operations only."""
    if INTERPRETING:
        return 1024
    return 256 if on_amd() else 128


def divisor(size: int) -> int:
    """The largest of 16, 8, 4, 2 and 1 that divides a size.

    As a constant it lets a kernel load 16 bytes at a time. Use it only for sizes of layers: a constant that
    depends on the batch size would compile a kernel for each batch size.
    """
    return math.gcd(size, 16)
