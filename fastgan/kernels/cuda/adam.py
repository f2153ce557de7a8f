"""Adam by the CUDA kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.pointers import DTYPES, _cuda, address, guarded, stream
from fastgan.kernels.layout import same_size


@guarded
def adam(
    values: Tensor,
    grads: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    count: Tensor,
    is_first: bool,
    learning_rate: Tensor,
    betas: tuple[float, float],
    eps: float,
    average: Tensor | None,
    average_weight: Tensor,
    halves: Tensor | None,
) -> None:
    dtype = values.dtype
    alike = [address(same_size(t, values), dtype) for t in (grads, exp_avg, exp_avg_sq)]
    _cuda.adam(
        DTYPES[dtype],
        values.numel(),
        address(values, dtype),
        *alike,
        0 if average is None else address(same_size(average, values), dtype),
        0 if halves is None else address(same_size(halves, values), torch.bfloat16),
        address(count, torch.float32),
        is_first,
        address(learning_rate, torch.float32),
        address(average_weight, torch.float32),
        *betas,
        eps,
        arrivals(values).data_ptr(),
        stream(values),
    )
