"""What a training step does to batches between the networks, in C++ for float32."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.native import address
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size, same_size

_FLOAT = torch.float32


class Samples(Reference):
    def gather(self, samples: Tensor, rows: Tensor, dtype: torch.dtype, into: Tensor | None) -> Tensor:
        is_bytes = samples.dtype is torch.uint8
        if dtype is not _FLOAT or samples.dtype not in (_FLOAT, torch.uint8) or not samples.is_contiguous():
            return super().gather(samples, rows, dtype, into)
        count, width, rows = len(samples), samples[:1].numel(), rows.contiguous()
        if into is None:
            into = torch.empty(len(rows), *samples.shape[1:], dtype=dtype, device=CPU)
        _cpu.gather(
            is_bytes,
            address(samples, samples.dtype),
            count,
            address(rows, torch.int64),
            rows.numel(),
            width,
            address(of_size(into, rows.numel() * width, "into"), dtype),
            torch.get_num_threads(),
        )
        return into

    def add_noise(self, samples: Tensor, noise: Tensor, std: Tensor) -> Tensor:
        if samples.dtype is not _FLOAT:
            return super().add_noise(samples, noise, std)
        samples, noise = samples.contiguous(), same_size(noise, samples, "noise").contiguous()
        noisy = torch.empty_like(samples)
        _cpu.add_noise(
            address(samples, _FLOAT),
            address(noise, _FLOAT),
            address(of_size(std, 1, "std"), _FLOAT),
            noisy.data_ptr(),
            samples.numel(),
            torch.get_num_threads(),
        )
        return noisy

    def between(self, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        if real.dtype is not _FLOAT:
            return super().between(real, fake, share)
        real, fake = real.contiguous(), same_size(fake, real, "fake").contiguous()
        share = of_size(share, len(real), "share").contiguous()
        points = torch.empty_like(real)
        _cpu.between(
            address(real, _FLOAT),
            address(fake, _FLOAT),
            address(share, _FLOAT),
            points.data_ptr(),
            *_rows_and_width(real),
            torch.get_num_threads(),
        )
        return points

    def around(self, real: Tensor, share: Tensor, noise: Tensor) -> Tensor:
        if real.dtype is not _FLOAT:
            return super().around(real, share, noise)
        real, noise = real.contiguous(), same_size(noise, real, "noise").contiguous()
        share = of_size(share, len(real), "share").contiguous()
        points = torch.empty_like(real)
        _cpu.around(
            address(real, _FLOAT),
            address(share, _FLOAT),
            address(noise, _FLOAT),
            points.data_ptr(),
            *_rows_and_width(real),
            torch.get_num_threads(),
        )
        return points

    def lipschitz_grad(self, slope: Tensor, weight: float) -> Tensor:
        if slope.dtype is not _FLOAT:
            return super().lipschitz_grad(slope, weight)
        slope = slope.contiguous()
        grad = torch.empty_like(slope)
        rows, width = _rows_and_width(slope)
        _cpu.lipschitz(
            address(slope, _FLOAT),
            grad.data_ptr(),
            rows,
            width,
            weight / max(rows, 1),
            torch.get_num_threads(),
        )
        return grad


def _rows_and_width(samples: Tensor) -> tuple[int, int]:
    rows = len(samples)
    return rows, samples.numel() // max(rows, 1)
