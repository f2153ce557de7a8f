"""Adam by the CUDA kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.pointers import DTYPES, _cuda, address, guarded, stream
from fastgan.kernels.sizes import of_size, same_size


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
    moments = {"grads": grads, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    alike = [address(same_size(t, values, name), dtype) for name, t in moments.items()]
    _cuda.adam(
        DTYPES[dtype],
        values.numel(),
        address(values, dtype),
        *alike,
        0 if average is None else address(same_size(average, values, "average"), dtype),
        0 if halves is None else address(same_size(halves, values, "halves"), torch.bfloat16),
        address(of_size(count, 1, "count"), torch.float32),
        is_first,
        address(of_size(learning_rate, 1, "learning_rate"), torch.float32),
        address(of_size(average_weight, 1, "average_weight"), torch.float32),
        *betas,
        eps,
        arrivals(values).data_ptr(),
        stream(values),
    )
