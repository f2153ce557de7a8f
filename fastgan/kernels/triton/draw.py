"""All random numbers of a step in one launch (Philox 4x32-10)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size
from fastgan.kernels.triton.launch import Kernel, threads
from fastgan.kernels.triton.scalar_math import number


@triton.jit
def _words(seed, step, kind, begin, first, BLOCK: tl.constexpr):
    """Four Philox words per counter, starting at index ``begin + first`` of a kind."""
    place = (begin + first) // 4 + tl.arange(0, BLOCK)
    zero = place * 0
    return tl.philox(
        number(seed, tl.int64),
        place.to(tl.uint32),
        (kind + 4 * (place >> 32)).to(tl.uint32),
        (zero + step).to(tl.uint32),
        (zero + (step >> 32)).to(tl.uint32),
    )


@triton.jit
def _normal_pair(first, second):
    """Two standard normal numbers from two words (Box and Muller, 1958). The first is mapped to (0, 1]."""
    radius = tl.sqrt(-2.0 * tl.log(first.to(tl.float32) * 2.3283064365386963e-10 + 1.1641532182693481e-10))
    angle = second.to(tl.float32) * 1.4629180792671596e-09  # 2 pi / 2^32
    return radius * tl.cos(angle), radius * tl.sin(angle)


@triton.jit
def _store(to, first, n, a, b, c, d, BLOCK: tl.constexpr):
    at = first + 4 * tl.arange(0, BLOCK)
    tl.store(to + at, a, mask=at < n)
    tl.store(to + at + 1, b, mask=at + 1 < n)
    tl.store(to + at + 2, c, mask=at + 2 < n)
    tl.store(to + at + 3, d, mask=at + 3 < n)


@triton.jit
def _below(word, high):
    return (word.to(tl.uint64) * high.to(tl.uint64) >> 32).to(tl.int64)


@triton.jit
def _uniform(word):
    return (word >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2^-24


@Kernel
def draw_kernel(
    integers,  # [n_integers]: in [0, high)
    normal,  # [n_normal]
    uniform,  # [n_uniform]: in [0, 1)
    clock,  # [1]: the number of the step
    n_integers: tl.int64,
    n_normal: tl.int64,
    n_uniform: tl.int64,
    begin_integers: tl.int64,  # begin_*: index of each vector's first number among its kind
    begin_normal: tl.int64,
    begin_uniform: tl.int64,
    programs_integers: tl.int64,  # the first programs draw integers,
    programs_normal: tl.int64,  # the next ones normal numbers, the others uniform numbers
    high: tl.int64,  # exclusive upper bound of integers
    seed: tl.int64,
    BLOCK: tl.constexpr,  # counters per program, four numbers each
):
    """Each program draws numbers of one kind."""
    step = tl.load(clock)
    program = tl.program_id(0).to(tl.int64)
    if program < programs_integers:
        first = program * (4 * BLOCK)
        a, b, c, d = _words(seed, step, 0, begin_integers, first, BLOCK)
        end = number(high, tl.int64)
        _store(
            integers, first, n_integers, _below(a, end), _below(b, end), _below(c, end), _below(d, end), BLOCK
        )
    elif program < programs_integers + programs_normal:
        first = (program - programs_integers) * (4 * BLOCK)
        a, b, c, d = _words(seed, step, 1, begin_normal, first, BLOCK)
        w, x = _normal_pair(a, b)
        y, z = _normal_pair(c, d)
        _store(normal, first, n_normal, w, x, y, z, BLOCK)
    else:
        first = (program - programs_integers - programs_normal) * (4 * BLOCK)
        a, b, c, d = _words(seed, step, 2, begin_uniform, first, BLOCK)
        _store(uniform, first, n_uniform, _uniform(a), _uniform(b), _uniform(c), _uniform(d), BLOCK)


class Draw(Reference):
    def draw(
        self,
        integers: Tensor,
        normal: Tensor,
        uniform: Tensor,
        begins: tuple[int, int, int],
        high: int,
        seed: int,
        clock: Tensor,
    ) -> None:
        of_size(clock, 1, "clock")
        block = threads()
        sizes = integers.numel(), normal.numel(), uniform.numel()
        programs = [triton.cdiv(size, 4 * block) for size in sizes]
        if sum(programs):
            draw_kernel.launch(
                sum(programs),
                (integers, normal, uniform, clock),
                (*sizes, *begins, *programs[:2], high, seed),
                (block,),
            )
