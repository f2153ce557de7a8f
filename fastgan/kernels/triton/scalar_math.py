"""Scalar math for the Triton kernels; csrc/scalar_math.h is the C++ version.

The losses derive everything from e = exp(-|t|), which lies in [0, 1] and cannot overflow:
softplus(t) = max(t, 0) + log1p(e) and sigmoid(t) = (t > 0 ? 1 : e) / (1 + e).
A nan stays nan; infinities give the limits.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra import libdevice

from fastgan.kernels.triton.launch import INTERPRETING

_INTERPRETING = tl.constexpr(INTERPRETING)
_LOG2_E = tl.constexpr(1.4426950408889634)
_LOG2_E_HIGH = tl.constexpr(1.44269502162933349609375)  # rounded to float32
_LOG2_E_LOW = tl.constexpr(1.92596299e-8)
_LOG_2 = tl.constexpr(0.6931471805599453)
_UNDERFLOW = tl.constexpr(-104.0)  # exp rounds to zero in float32 from here downwards
# log 2 in two parts; the high part is short, so its product with an exponent is exact
_LOG_2_HIGH = tl.constexpr(0.693359375)
_LOG_2_LOW = tl.constexpr(-2.12194440e-4)
_SQRT_HALF = tl.constexpr(0x3F3504F3)
_MANTISSA = tl.constexpr(0x007FFFFF)


@triton.jit
def number(x, TYPE: tl.constexpr):
    """Convert a number argument to a scalar of a dtype. (In the interpreter it is a Python number.)"""
    return tl.full((), x, TYPE)


@triton.jit
def reciprocal(x):
    """1 / x within an ulp for 1 <= x <= 2, without the range checks of a full division."""
    if x.dtype == tl.float64 or _INTERPRETING:
        return 1.0 / x
    else:
        return libdevice.fast_dividef(1.0, x)


@triton.jit
def exp_minus_abs(t, EXACT: tl.constexpr):
    """exp(-|t|). If EXACT, to float32 precision; otherwise for half types: relative error |t| * 2**-24."""
    x = -tl.abs(t)
    if t.dtype == tl.float64:
        return tl.exp(x)
    elif EXACT:
        x = tl.where(x < _UNDERFLOW, _UNDERFLOW, x)  # unlike maximum, this keeps nan
        # 2 ** (x log2 e). Compute the exponent's rounding error exactly and correct the result by it.
        exponent = x * _LOG2_E_HIGH
        lost = tl.fma(x, _LOG2_E_HIGH, -exponent) + x * _LOG2_E_LOW
        e = tl.exp2(exponent)
        return e + e * (lost * _LOG_2)
    else:
        return tl.exp2(x * _LOG2_E)


@triton.jit
def log1p_nonnegative(p):
    """log(1 + p) for p >= 0 with an error below 2 ulp. tl.log(1 + p) would lose a p below eps."""
    u = 1.0 + p
    rounding = (p - (u - 1.0)) / u  # the rounding error of u, as an error of log(u)
    if p.dtype == tl.float64:
        return tl.log(u) + rounding
    else:
        # u = 2^k m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s) with s = (m - 1) / (m + 1)
        shifted = u.to(tl.int32, bitcast=True) - _SQRT_HALF
        k = (shifted >> 23).to(tl.float32)
        m = ((shifted & _MANTISSA) + _SQRT_HALF).to(tl.float32, bitcast=True)
        f = m - 1.0
        s = f / (2.0 + f)
        z = s * s
        tail = z * (0.333333333 + z * (0.2 + z * (0.142857143 + z * 0.111111111)))
        log_m = f - s * (f - 2.0 * tail)
        return k * _LOG_2_HIGH + (log_m + (rounding + k * _LOG_2_LOW))


@triton.jit
def product_minus_one(p, e):
    """Include a factor (1 + e) in p = prod(1 + e) - 1. Storing the product minus 1 keeps tiny e."""
    return p + (e + p * e)


@triton.jit
def sign(d):
    """The slope of |d|; like PyTorch, zero at zero and for nan."""
    return tl.where(d > 0, 1.0, tl.where(d < 0, -1.0, 0.0))


@triton.jit
def leaky_relu(z, negative_slope):
    return tl.where(z > 0, z, negative_slope * z)


@triton.jit
def leaky_relu_gradient(gradient, y, negative_slope):
    """gradient times the slope, taken from the output y: it has the sign of z for negative_slope >= 0."""
    return tl.where(y > 0, gradient, negative_slope * gradient)
