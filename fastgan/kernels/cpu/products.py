"""Chooses the matrix product of a CPU layer.

Measured on two Zen 5 cores, torch 2.13, with ``benchmarks/bench_choices.py``. Sizes are N * K * M.

- BLAS is ``torch.mm``. On AMD CPUs MKL uses only AVX2: 200 GFLOP/s, and 3 to 8 us per call.
- ONEDNN reaches 400 GFLOP/s with AVX-512, takes transposed views without a copy and applies bias and leaky
  ReLU in its epilogue, but costs 12 us per call. wgrad gains least: both its operands are transposed.
  Without AVX-512 neither has an advantage (two Zen 3 cores: BLAS 145 to 170, ONEDNN 120 to 140), so BLAS
  is used. ``torch.mm`` in bf16 calls oneDNN too: only the fused epilogue makes a difference there.
- OWN is csrc/cpu/products.h: float32, one call per forward or backward pass, 170 GFLOP/s per core without
  warm-up, with widths padded to its panel of 32. Forward + backward on two cores in us, eager PyTorch /
  the libraries / OWN: 64x64x64 52 / 67 / 52, 128x128x128 126 / 146 / 111, 256x256x256 774 / 577 / 506,
  1024x1024x1024 36,400 / 19,300 / 22,200. With AVX2 (two Zen 3 cores) OWN is as fast as BLAS, 155 to 170
  GFLOP/s from 128x256x256 on, and computes a chain of layers in one call. Time of BLAS relative to OWN's
  (forward, dgrad, wgrad): 1.00, 0.89, 0.79 at 512x512x512; 1.23, 0.93, 0.93 at 64x1024x1024.
"""

from __future__ import annotations

import platform
from enum import Enum

import torch
from torch import Tensor


class Product(Enum):
    BLAS = "torch.mm"
    ONEDNN = "oneDNN"
    OWN = "fastgan"


# The multiply-adds from which oneDNN is used.
_NEVER = 1 << 62
_HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
_ONEDNN_FROM = {
    "forward": {torch.float32: 1 << 22 if _HAS_AVX512 else _NEVER, torch.bfloat16: 1},
    "dgrad": {torch.float32: 1 << 22 if _HAS_AVX512 else _NEVER, torch.bfloat16: _NEVER},
    "wgrad": {torch.float32: 1 << 23 if _HAS_AVX512 else _NEVER, torch.bfloat16: _NEVER},
}
_OWN_UP_TO = 1 << (24 if _HAS_AVX512 else 26)
_OWN_PANEL = 32
_NARROW = 16  # with fewer output features the product is almost matrix-vector, where torch.mm is fastest

HAS_ONEDNN = (
    platform.machine() in ("x86_64", "AMD64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
_HAS_ONEDNN_BF16 = HAS_ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def choose(kind: str, dtype: torch.dtype, n: int, k: int, m: int) -> Product:
    """The product for "forward", "dgrad" or "wgrad" of a layer: n rows, k input and m output features."""
    if m < _NARROW:
        return Product.BLAS
    if dtype is torch.float32 and n * _padded(k, m) <= _OWN_UP_TO:
        return Product.OWN
    has_onednn = _HAS_ONEDNN_BF16 if dtype is torch.bfloat16 else HAS_ONEDNN
    if has_onednn and n * k * m >= _ONEDNN_FROM[kind].get(dtype, _NEVER) and torch.backends.mkldnn.enabled:
        return Product.ONEDNN
    return Product.BLAS


def _padded(k: int, m: int) -> int:
    """Elements of a weight [m, k] with both dimensions padded to whole panels."""
    return -(-m // _OWN_PANEL) * -(-k // _OWN_PANEL) * _OWN_PANEL**2


def onednn(a: Tensor, b: Tensor, bias: Tensor | None = None, negative_slope: float | None = None) -> Tensor:
    """``a @ b.T + bias``, then leaky ReLU if a slope is given. a and b may be transposed views."""
    for name, t in (("weight", b), ("bias", bias)):
        if t is not None and t.dtype is not a.dtype:
            raise TypeError(f"{name} is {t.dtype}, expected {a.dtype}")
    bias = None if bias is None else bias.contiguous()  # oneDNN ignores its stride
    activation = ("none", []) if negative_slope is None else ("leaky_relu", [negative_slope])
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, *activation, "")
    return result
