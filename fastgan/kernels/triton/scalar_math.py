"""Scalar math for the Triton kernels; csrc/scalar_math.h is the C++ version.

The losses derive everything from e = exp(-|t|), which lies in [0, 1] and cannot overflow:
softplus(t) = max(t, 0) + log1p(e) and sigmoid(t) = (t > 0 ? 1 : e) / (1 + e).
A nan stays nan; infinities give the limits.
"""

from __future__ import annotations

import math

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
_EXPM1_SERIES = tl.constexpr((0.49999994, 0.16666521, 0.04166839, 0.008368745, 0.0013814539))
_TANH_SERIES = tl.constexpr(
    (-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3)
)
_ONE = tl.constexpr(0x3F800000)  # the bits of 1.0
_SQRT_HALF = tl.constexpr(0x3F3504F3)
_MANTISSA = tl.constexpr(0x007FFFFF)
_PI = tl.constexpr(3.141592653589793)
_TWO_OVER_PI = tl.constexpr(0.6366197723675814)
# pi / 2 in three parts. In float32 the second has 11 bits, so that its product with an integer is exact
_HALF_PI = tl.constexpr((1.5707963705062866, -4.371395334601402e-08, 2.5633440682570896e-12))
_HALF_PI_DOUBLE = tl.constexpr((1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33))
# 1 / pi in parts of 24 bits, whose products with a float32 are exact in float64
_INVERSE_PI = tl.constexpr(
    (
        0.31830984354019165,
        4.2643598874292366e-08,
        1.4685476074668795e-16,
        1.6271890689978986e-23,
        1.2355693720024171e-29,
        6.595360320501356e-37,
        1.3102015556048607e-44,
        3.526978043894359e-52,
    )
)
# sin(r)**2 = z + z**2 (...) and sin(2 r) = 2 r + 2 r z (...), with z = r**2
_SQUARE_SERIES = tl.constexpr(tuple(2.0 * (-4.0) ** k / math.factorial(2 * k + 2) for k in range(1, 11)))
_DOUBLE_SERIES = tl.constexpr(tuple((-4.0) ** k / math.factorial(2 * k + 1) for k in range(1, 11)))
_ROUNDS = tl.constexpr(12582912.0)  # 1.5 * 2**23: adding it rounds a float32 to an integer, the lowest bits
_ROUNDS_DOUBLE = tl.constexpr(6755399441055744.0)
_LARGEST_ANGLE = tl.constexpr(0x46000000)  # the bits of 8192
_LARGEST_DOUBLE = tl.constexpr(1125899906842624.0)  # 2**50


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
def logarithm(u):
    """log(u) for a positive normal u, with an error below 2 ulp. tl.log has few digits next to 1."""
    return _log_plus(u, 0.0)


@triton.jit
def log1p_nonnegative(p):
    """log(1 + p) for p >= 0 with an error below 2 ulp. tl.log(1 + p) would lose a p below eps."""
    u = 1.0 + p
    return _log_plus(u, (p - (u - 1.0)) / u)  # the rounding error of u, as an error of log(u)


@triton.jit
def _log_plus(u, rounding):
    """log(u) + rounding, which is small."""
    if u.dtype == tl.float64:
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
def expm1_nonpositive(x):
    """exp(x) - 1 for x <= 0 with an error below 2 ulp."""
    if x.dtype == tl.float64:
        x = tl.where(x < -40.0, -40.0, x)  # the result rounds to -1
        u = tl.exp(x)
        return tl.where(u == 1.0, x, (u - 1.0) * (x / tl.log(tl.where(u == 1.0, 0.5, u))))
    else:
        x = tl.where(x < -32.0, -32.0, x)
        shifted = x * _LOG2_E + _ROUNDS
        n = shifted - _ROUNDS
        r = tl.fma(n, -_LOG_2_LOW, tl.fma(n, -_LOG_2_HIGH, x))  # x = n log 2 + r
        series = r * _EXPM1_SERIES[4] + _EXPM1_SERIES[3]
        for i in tl.static_range(1, 4):
            series = series * r + _EXPM1_SERIES[3 - i]
        power = ((shifted.to(tl.int32, bitcast=True) << 23) + _ONE).to(tl.float32, bitcast=True)  # 2^n
        return power * (r + r * r * series) + (power - 1.0)


@triton.jit
def sigmoid(t, e):
    """sigmoid(t), with an error of up to 3 ulp; e is exp(-|t|)."""
    return tl.where(t > 0, 1.0, e) * reciprocal(1.0 + e)


@triton.jit
def exact_sigmoid(t, EXACT: tl.constexpr):
    """sigmoid(t). If EXACT, with an error below 2 ulp."""
    e = exp_minus_abs(t, EXACT)
    if EXACT:
        u = 1.0 + e
        rounding = e - (u - 1.0)
        y = tl.where(t > 0, 1.0, e) / u
        inverse = tl.where(t > 0, y, 1.0 - y)  # of u, up to its last digits
        return y - y * (rounding * inverse)
    else:
        return sigmoid(t, e)


@triton.jit
def hyperbolic_tangent(x, EXACT: tl.constexpr):
    """tanh(x). If EXACT, with an error below 2 ulp in float32."""
    magnitude = tl.abs(x)
    if x.dtype == tl.float64:
        m = expm1_nonpositive(-2.0 * magnitude)
        result = -m / (2.0 + m)
    else:
        # for |x| < 0.625 (Cephes): the other formula would lose digits
        z = x * x
        series = z * _TANH_SERIES[4] + _TANH_SERIES[3]
        for i in tl.static_range(1, 4):
            series = series * z + _TANH_SERIES[3 - i]
        e = exp_minus_abs(2.0 * x, EXACT)
        large = 1.0 - 2.0 * e * reciprocal(1.0 + e)
        result = tl.where(magnitude < 0.625, magnitude + magnitude * (z * series), large)
    return tl.where(x < 0, -result, result)


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


@triton.jit
def any_is_huge(angle):
    """Whether one of these float32 angles is too large for sines(). True for nan."""
    return tl.max(tl.abs(angle).to(tl.int32, bitcast=True)) > _LARGEST_ANGLE


@triton.jit
def remainder_of_pi(y):
    """y modulo pi, for any finite float32; nan for others."""
    # Only the fraction of y / pi is wanted. Each product is exact, and so is its fraction.
    y = y.to(tl.float64)
    turns = y * 0.0
    for i in tl.static_range(8):
        product = y * _INVERSE_PI[i]
        turns += product - tl.floor(product)
    return ((turns - tl.floor(turns + 0.5)) * _PI).to(tl.float32)


@triton.jit
def sines(y, EXACT: tl.constexpr):
    """sin(y)**2 and sin(2 y), for |y| <= 8192.

    If EXACT, the error of the square is below 2 ulp and that of sin(2 y) below 2e-7; otherwise 1e-6, for half
    types. In float64 both are 0 beyond 2**50, where neighbouring numbers are apart by a part of the period.
    """
    if y.dtype == tl.float64:
        return _sines_double(y)
    else:
        shifted = y * _TWO_OVER_PI + _ROUNDS
        n = shifted - _ROUNDS
        # y = n pi / 2 + r + low, with |r| <= pi / 4
        rest = tl.fma(n, -_HALF_PI[0], y)  # exact, as is what r loses here:
        r = tl.fma(n, -_HALF_PI[1], rest)
        if EXACT:
            missing = tl.fma(n, -_HALF_PI[2], tl.fma(n, -_HALF_PI[1], rest - r))
            rounded = r
            r = rounded + missing
            low = (rounded - r) + missing
        twice = r + r
        z = r * r
        # minimax on [0, (pi / 4)**2]
        if EXACT:
            tail = -0.333333284 + z * (0.0444437563 + z * (-0.00317128189 + z * 1.3473125e-4))
            # without the low part, the square would have twice the relative error of r
            square = z + (z * z * tail + twice * low)
        else:
            square = z + z * z * (-0.33333233 + z * (0.04441505 + z * -0.00304673))
        slope = -0.666666269 + z * (0.133328274 + z * (-0.0126762092 + z * 6.65582833e-4))
        of_double = twice + twice * (z * slope)
        quarter = shifted.to(tl.int32, bitcast=True)
        is_odd = (quarter & 1) != 0
        sign = quarter << 31
        of_double = (of_double.to(tl.int32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)
        return tl.where(is_odd, 1.0 - square, square), of_double


@triton.jit
def _sines_double(y):
    shifted = y * _TWO_OVER_PI + _ROUNDS_DOUBLE
    n = shifted - _ROUNDS_DOUBLE
    r = tl.fma(n, -_HALF_PI_DOUBLE[0], y)
    r = tl.fma(n, -_HALF_PI_DOUBLE[2], tl.fma(n, -_HALF_PI_DOUBLE[1], r))
    r = tl.where(tl.abs(y) < _LARGEST_DOUBLE, r, y - y)
    z = r * r
    square = z * _SQUARE_SERIES[9] + _SQUARE_SERIES[8]
    of_double = z * _DOUBLE_SERIES[9] + _DOUBLE_SERIES[8]
    for i in tl.static_range(1, 9):
        square = z * square + _SQUARE_SERIES[8 - i]
        of_double = z * of_double + _DOUBLE_SERIES[8 - i]
    is_odd = (shifted.to(tl.int64, bitcast=True) & 1) != 0
    square = z + z * (z * square)
    of_double = (r + r) + (r + r) * (z * of_double)
    return tl.where(is_odd, 1.0 - square, square), tl.where(is_odd, -of_double, of_double)
