"""Which matrix product serves a float CPU layer: the table, and the figures behind it.

Measured on two Zen 5 cores, torch 2.13, as by ``benchmarks/bench_choices.py``; sizes are multiply-adds
N * K * M.

- BLAS is ``torch.mm``. MKL keeps to AVX2 on AMD machines: 200 GFLOP/s, and 3 to 8 us a call.
- ONEDNN reaches 400 by AVX-512, takes transposed views without a copy and applies bias and leaky ReLU on
  the way out, but costs 12 us a call; wgrad, both of whose operands are transposed, gains least. Without
  AVX-512 both are at the hardware's rate (two Zen 3 cores: BLAS 145 to 170, ONEDNN 120 to 140), and BLAS
  it is. bf16 products are oneDNN's either way: there only the fused epilogue is worth a choice.
- OWN is csrc/cpu/products.h: float, one call for a whole forward or backward pass, 170 GFLOP/s a core
  from the first microsecond, on widths rounded up to its panel of 32. Forward + backward in us, on two
  cores, eager PyTorch / the libraries / OWN: 64x64x64 52 / 67 / 52, 128x128x128 126 / 146 / 111,
  256x256x256 774 / 577 / 506, 1024x1024x1024 36,400 / 19,300 / 22,200. With AVX2 alone (two Zen 3 cores)
  it is even with BLAS, 155 to 170 GFLOP/s from 128x256x256 on, and takes a whole chain in one call. At
  512x512x512 BLAS takes 1.00, 0.89 and 0.79 of its time (forward, dgrad, wgrad), at 64x1024x1024 1.23, 0.93
  and 0.93.
"""

from __future__ import annotations

import platform
from enum import Enum
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor


class Product(Enum):
    BLAS = "torch.mm"
    ONEDNN = "oneDNN"
    OWN = "fastgan"


_NEVER = 1 << 62
_HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
_ONEDNN_FROM = {
    "forward": {torch.float32: 1 << 22 if _HAS_AVX512 else _NEVER, torch.bfloat16: 1},
    "dgrad": {torch.float32: 1 << 22 if _HAS_AVX512 else _NEVER, torch.bfloat16: _NEVER},
    "wgrad": {torch.float32: 1 << 23 if _HAS_AVX512 else _NEVER, torch.bfloat16: _NEVER},
}
_OWN_UP_TO = 1 << (24 if _HAS_AVX512 else 26)
_OWN_PANEL = 32
_NARROW = 16  # with so few output features it is a matrix-vector product, and torch.mm's

HAS_ONEDNN = (
    platform.machine() in ("x86_64", "AMD64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
_HAS_ONEDNN_BF16 = HAS_ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def choose(kind: str, dtype: torch.dtype, n: int, k: int, m: int) -> Product:
    """For "forward", "dgrad" or "wgrad" of a layer of n rows, k input and m output features."""
    if m < _NARROW:
        return Product.BLAS
    if dtype is torch.float32 and n * _padded(k, m) <= _OWN_UP_TO:
        return Product.OWN
    has_onednn = _HAS_ONEDNN_BF16 if dtype is torch.bfloat16 else HAS_ONEDNN
    if has_onednn and n * k * m >= _ONEDNN_FROM[kind].get(dtype, _NEVER) and torch.backends.mkldnn.enabled:
        return Product.ONEDNN
    return Product.BLAS


@cache
def all_own(dtype: torch.dtype, n: int, features: tuple[int, ...]) -> bool:
    """Whether OWN is the choice for a whole chain of layers, narrow ones in a chain included."""
    return dtype is torch.float32 and all(n * _padded(k, m) <= _OWN_UP_TO for k, m in pairwise(features))


def _padded(k: int, m: int) -> int:
    """Elements of a weight [m, k] in whole panels, whichever side is cut into panels."""
    return -(-m // _OWN_PANEL) * -(-k // _OWN_PANEL) * _OWN_PANEL**2


def onednn(a: Tensor, b: Tensor, bias: Tensor | None = None, negative_slope: float | None = None) -> Tensor:
    """``a @ b.T + bias``, through leaky ReLU if a slope is given; a and b may be transposed views."""
    for name, t in (("weight", b), ("bias", bias)):
        if t is not None and t.dtype is not a.dtype:
            raise TypeError(f"{name} is {t.dtype}, expected {a.dtype}")
    bias = None if bias is None else bias.contiguous()  # oneDNN reads it as if it were
    activation = ("none", []) if negative_slope is None else ("leaky_relu", [negative_slope])
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, *activation, "")
    return result
