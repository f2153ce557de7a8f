"""Adam over one flat vector of parameters; updates the average and the bfloat16 copy in the same pass."""

from __future__ import annotations

import math

import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size, same_size
from fastgan.kernels.triton.launch import Kernel, divisor, threads
from fastgan.kernels.triton.scalar_math import number

_LOADS_IN_FLIGHT = 2  # 16-byte loads per thread and operand


@triton.jit
def _correction(log_beta, step):
    """1 - beta^step. In float64: beta^step starts near 1, where float32 would keep three digits."""
    return 1.0 - tl.exp(number(log_beta, tl.float64) * step)


@Kernel
def adam_kernel(
    values,  # [n]
    grads,  # [n]
    exp_avg,  # [n]
    exp_avg_sq,  # [n]
    average,  # [n], if AVERAGE: moves towards values
    halves,  # [n], if HALVES: values in bfloat16
    count,  # []: number of the step; if is_first, of the previous step
    learning_rate,  # []
    average_weight,  # []
    arrived,  # []: zero before and after
    n: tl.int64,
    is_first: tl.int64,  # 1 in the first call of a step, which increments count
    beta1: tl.float64,
    one_minus_beta1: tl.float64,
    beta2: tl.float64,
    one_minus_beta2: tl.float64,
    log_beta1: tl.float64,
    log_beta2: tl.float64,
    eps: tl.float64,
    weight_decay: tl.float64,  # if DECAY: times values, added to grads
    DECAY: tl.constexpr,
    AVERAGE: tl.constexpr,
    HALVES: tl.constexpr,
    N_BY: tl.constexpr,  # divides n
    BLOCK: tl.constexpr,
):
    COMPUTE: tl.constexpr = tl.float64 if values.dtype.element_ty == tl.float64 else tl.float32
    n = n // N_BY * N_BY  # no change: tells the compiler a divisor
    step = tl.load(count).to(tl.float64) + is_first
    size = (tl.load(learning_rate).to(tl.float64) / _correction(log_beta1, step)).to(COMPUTE)
    root = tl.sqrt(_correction(log_beta2, step)).to(COMPUTE)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    g = tl.load(grads + at, mask=inside, other=0.0).to(COMPUTE)
    if DECAY:
        value = tl.load(values + at, mask=inside, other=0.0).to(COMPUTE)
        g += number(weight_decay, COMPUTE) * value
    m = tl.load(exp_avg + at, mask=inside, other=0.0).to(COMPUTE)
    m = number(beta1, COMPUTE) * m + number(one_minus_beta1, COMPUTE) * g
    v = tl.load(exp_avg_sq + at, mask=inside, other=0.0).to(COMPUTE)
    v = number(beta2, COMPUTE) * v + number(one_minus_beta2, COMPUTE) * g * g
    tl.store(exp_avg + at, m.to(exp_avg.dtype.element_ty), mask=inside)
    tl.store(exp_avg_sq + at, v.to(exp_avg_sq.dtype.element_ty), mask=inside)
    moved = size * m / (tl.sqrt(v) / root + number(eps, COMPUTE))
    if not DECAY:  # loaded so late that float64 spills no register
        value = tl.load(values + at, mask=inside, other=0.0).to(COMPUTE)
    value = (value - moved).to(values.dtype.element_ty)
    tl.store(values + at, value, mask=inside)
    if AVERAGE:  # like torch.lerp: exact at both ends
        weight = tl.load(average_weight).to(COMPUTE)
        mean = tl.load(average + at, mask=inside, other=0.0).to(COMPUTE)
        way = value.to(COMPUTE) - mean
        mean = tl.where(weight < 0.5, mean + weight * way, value.to(COMPUTE) - way * (1.0 - weight))
        tl.store(average + at, mean.to(average.dtype.element_ty), mask=inside)
    if HALVES:
        tl.store(halves + at, value.to(tl.float32).to(tl.bfloat16), mask=inside)
    tl.debug_barrier()  # wait until every thread has read count
    if tl.atomic_add(arrived, 1, sem="acq_rel") == tl.num_programs(0) - 1:
        tl.store(arrived, 0)
        tl.store(count, step.to(tl.float32))


class Adam(Reference):
    def adam(
        self,
        values: Tensor,
        grads: Tensor,
        exp_avg: Tensor,
        exp_avg_sq: Tensor,
        count: Tensor,
        is_first: bool,
        learning_rate: Tensor,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        average: Tensor | None,
        average_weight: Tensor,
        halves: Tensor | None,
    ) -> None:
        for t, name in (
            *((grads, "grads"), (exp_avg, "exp_avg"), (exp_avg_sq, "exp_avg_sq")),
            *((average, "average"), (halves, "halves")),
        ):
            if t is not None:
                same_size(t, values, name)
        for scalar, name in (
            (count, "count"),
            (learning_rate, "learning_rate"),
            (average_weight, "average_weight"),
        ):
            of_size(scalar, 1, name)
        n = values.numel()
        block = threads() * _LOADS_IN_FLIGHT * 16 // values.element_size()
        logs = [math.log(beta) if beta > 0 else -math.inf for beta in betas]
        adam_kernel.launch(
            triton.cdiv(n, block),
            (
                *(values, grads, exp_avg, exp_avg_sq, average, halves),
                *(count, learning_rate, average_weight, arrivals(values)),
            ),
            (n, int(is_first), betas[0], 1 - betas[0], betas[1], 1 - betas[1], *logs, eps, weight_decay),
            (weight_decay != 0, average is not None, halves is not None, divisor(n), block),
        )
