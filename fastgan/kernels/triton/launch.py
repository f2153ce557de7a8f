"""From Python to a running kernel, for a third of what Triton's own launcher costs.

Triton looks at every argument of every launch: for twelve of them that takes 8.3 us on a Zen 5 core, where
ours takes 3.1 (benchmarks/bench_launch.py). Here pointers come first, then numbers, then the constants. No
number's value is compiled in, so a new batch size needs no new kernel: the annotation fixes its type, and
``do_not_specialize`` keeps Triton from assuming that what is a multiple of 16, or is 1, will be so again. A
kernel that needs a multiple makes one itself, with a constant: ``n // BY * BY``.

Compiled variants then differ in dtypes, constants, the device, and in what Triton assumes of addresses: that
each is a multiple of 16 bytes, as those of fresh tensors are, and on AMD that no tensor's storage is longer
than 2 GiB. Where that does not hold, a launch goes Triton's way.
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

INTERPRETING: bool = knobs.runtime.interpret  # TRITON_INTERPRET=1, read when a kernel is defined
MAX_GRID = 2**31 - 1
MOST_TENSORS = 64  # of a launch: all arguments then fit in the 4 KiB that CUDA has for them
_LONGEST_ON_AMD = 2**31 - 1  # bytes that Triton's 32-bit offsets reach there

_one_at_a_time = threading.Lock() if INTERPRETING else contextlib.nullcontext()
_Function = Callable[..., None]

KERNELS: list[Kernel] = []


class Kernel:
    """A Triton function and what was compiled of it. Use as a decorator.

    Arguments stand in this order: pointers; numbers annotated ``tl.int64`` or ``tl.float64``; constants.
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
        as_usual = addresses % 16 == 0 and (not on_amd() or _are_short(tensors))
        compiled = self.compiled.get(key) if as_usual else None
        if compiled is not None:
            compiled[grid](*tensors, *numbers, *constants)
            return
        # an option of NVIDIA's compiler alone
        limit = {} if maxnreg is None or INTERPRETING or on_amd() else {"maxnreg": maxnreg}
        with _one_at_a_time:
            compiled = self.jit[grid](
                *tensors,
                *numbers,
                *constants,
                num_warps=num_warps,
                num_stages=num_stages,
                enable_fp_fusion=True,
                **limit,
            )
        if as_usual and not INTERPRETING:
            self.compiled[key] = compiled


class KernelOfTensors:
    """A kernel that takes any number of tensors: ``of(count)`` is the one for so many.

    Triton fixes the number of a kernel's arguments, so there is a kernel for each count. It does nothing but
    call ``function``, with a tuple for each parameter that ``repeated`` names.
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
        linecache.cache[file] = len(source), None, [source], file  # Triton reads a kernel's source
        scope = {"function": self.jit, "tl": tl, "__name__": function.__module__}
        exec(compile(source, file, "exec"), scope)
        return Kernel(scope[name])


def for_each_tensor(*repeated: str) -> Callable[[_Function], KernelOfTensors]:
    """A decorator: parameters of these names are tuples, with an element for each tensor."""
    return lambda function: KernelOfTensors(function, repeated)


@cache
def on_amd() -> bool:
    return not INTERPRETING and driver.active.get_current_target().backend == "hip"


def _are_short(tensors: Sequence[Tensor | None]) -> bool:
    return all(t is None or t.untyped_storage().size() <= _LONGEST_ON_AMD for t in tensors)


@cache
def threads() -> int:
    """Threads of a program of four warps. More in the interpreter, which pays for operations alone."""
    if INTERPRETING:
        return 1024
    return 256 if on_amd() else 128


def divisor(size: int) -> int:
    """The largest of 16, 8, 4, 2 and 1 that divides a size.

    As a constant it lets a kernel move 16 bytes at a time where rows are that long. For sizes of layers only:
    a constant that follows the batch would compile a kernel for each batch.
    """
    return math.gcd(size, 16)
