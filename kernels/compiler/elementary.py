"""Elementary functions that no vector instruction computes, to 2 units in the last place.

Series and reductions are those of textbooks (Taylor, Cody & Waite 1980). Tests compare them with mpmath.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir

from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.values import BIT, INTEGERS, VECTOR, WIDTH, Lane

# 1.5 * 2^52. A number that is added to it is rounded to an integer, which the low bits then hold.
_ROUNDER = 6755399441055744.0
_LOG2_HIGH = 0.693147180369123816490  # 32 bits of ln 2, so that small multiples of it are exact
_LOG2_LOW = 1.90821492927058770002e-10
_LEAST = -708.0  # exp of less is taken as 0: 3e-308 is about the smallest normal number
_HALF_ROOT = 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)
_ONE = 0x3FF0000000000000  # bits of 1
_SINE = [(-1) ** k / math.factorial(2 * k + 1) for k in range(1, 9)]
_COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(1, 9)]


def _polynomial(x: Any, coefficients: list[float]) -> Any:
    """Return the sum of coefficients[k] x^k, by Horner's rule."""
    total: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = fma(total, x, coefficient)
    return total


def _integers(number: int) -> ir.Constant:
    return ir.Constant(INTEGERS, [number] * WIDTH)


def _power_of_two(shifted: Any) -> Any:
    """Return 2^n for the integer n that was added to the rounder, -1022 <= n <= 1023."""
    if not isinstance(shifted, Lane):
        return np.ldexp(1.0, np.asarray(shifted - _ROUNDER).astype(np.int64))
    builder = shifted.code.builder
    bits = builder.shl(shifted.bits(), _integers(52))
    bits = builder.add(bits, _integers(1023 << 52))
    return Lane(shifted.code, builder.bitcast(bits, VECTOR))


def _mantissa_and_exponent(x: Any) -> tuple[Any, Any]:
    """Return m in [sqrt(1/2), sqrt(2)) and n with x = m 2^n, for normal numbers x > 0."""
    if not isinstance(x, Lane):
        shifted = np.asarray(x).view(np.int64) + (_ONE - _HALF_ROOT)
        exponent = (shifted >> 52) - 1023
        return ((shifted & ((1 << 52) - 1)) + _HALF_ROOT).view(np.float64), exponent.astype(np.float64)
    builder = x.code.builder
    bits = builder.add(x.bits(), _integers(_ONE - _HALF_ROOT))
    n = builder.sub(builder.lshr(bits, _integers(52)), _integers(1023))
    bits = builder.and_(bits, _integers((1 << 52) - 1))
    mantissa = Lane(x.code, builder.bitcast(builder.add(bits, _integers(_HALF_ROOT)), VECTOR))
    return mantissa, Lane(x.code, builder.sitofp(n, VECTOR))


def _by_parity(shifted: Any, odd: Any, even: Any) -> Any:
    """Return `odd` where the integer that was added to the rounder is odd, else `even`."""
    if not isinstance(shifted, Lane):
        return np.where(np.asarray(shifted - _ROUNDER) % 2 == 1, odd, even)
    builder = shifted.code.builder
    bit = builder.trunc(shifted.bits(), ir.VectorType(BIT, WIDTH))
    return Lane(shifted.code, builder.select(bit, odd.ir, even.ir))


def exponentials(x: Any) -> tuple[Any, Any]:
    """Return exp(x) and expm1(x) for x <= 709; below -708 they are 0 and -1."""
    inside = select(x < _LEAST, _LEAST, x)
    shifted = fma(inside, 1.0 / math.log(2.0), _ROUNDER)
    n = shifted - _ROUNDER
    r = fma(n, -_LOG2_LOW, fma(n, -_LOG2_HIGH, inside))
    # expm1(r) = r + r^2 (1/2! + r/3! + ...), |r| <= ln(2)/2: the term r^14/14! is below 5e-18.
    small = fma(r * r, _polynomial(r, [1 / math.factorial(k) for k in range(2, 14)]), r)
    power = _power_of_two(shifted)
    exp, expm1 = fma(power, small, power), fma(power, small, power - 1.0)
    return select(x < _LEAST, 0.0, exp), select(x < _LEAST, -1.0, expm1)


def exp(x: Any) -> Any:
    """Return exp(x)."""
    return exponentials(x)[0]


def expm1(x: Any) -> Any:
    """Return exp(x) - 1, without cancellation."""
    return exponentials(x)[1]


def log(x: Any) -> Any:
    """Return the natural logarithm of normal numbers x > 0."""
    # For a mantissa in [sqrt(1/2), sqrt(2)) its logarithm does not cancel with that of the power of two.
    mantissa, exponent = _mantissa_and_exponent(x)
    # log m = 2 artanh(f), f = (m - 1) / (m + 1); |f| <= 0.1716, so f^24 / 25 is below 2e-20.
    f = (mantissa - 1.0) / (mantissa + 1.0)
    square = f * f
    higher = _polynomial(square, [2 / (2 * k + 1) for k in range(1, 12)]) * square
    # 2 f has the rounding error of the division, which (m - 1) - f (m + 1) recovers.
    rest = fma(f, -(mantissa + 1.0), mantissa - 1.0) / (mantissa + 1.0)
    series = fma(f, higher, 2.0 * rest) + exponent * _LOG2_LOW
    head = fma(exponent, _LOG2_HIGH, 2.0 * f)
    carried = fma(exponent, _LOG2_HIGH, -head) + 2.0 * f
    return head + (series + carried)


def sine_cosine_of_turns(turns: Any) -> tuple[Any, Any]:
    """Return sin and cos of 2 pi turns, for turns in [0, 1]."""
    shifted = fma(turns, 4.0, _ROUNDER)
    quarter = shifted - _ROUNDER
    angle = (turns - 0.25 * quarter) * (2.0 * math.pi)  # exact but for the last product
    square = angle * angle
    sine = fma(angle * square, _polynomial(square, _SINE), angle)
    cosine = fma(square, _polynomial(square, _COSINE), 1.0)
    first, second = _by_parity(shifted, cosine, sine), _by_parity(shifted, sine, cosine)
    return _sign(quarter, 2.0, 4.0) * first, _sign(quarter, 1.0, 3.0) * second


def _sign(quarter: Any, first: float, last: float) -> Any:
    """Return -1 where first <= quarter < last, else 1."""
    return select((quarter >= first) & (quarter < last), -1.0, 1.0)


def hypotenuse(x: Any, y: Any) -> Any:
    """Return sqrt(x^2 + y^2), which does not overflow before its value does."""
    x, y = absolute(x), absolute(y)
    larger, smaller = select(x > y, x, y), select(x > y, y, x)
    ratio = smaller / select(larger > 0.0, larger, 1.0)
    return larger * sqrt(fma(ratio, ratio, 1.0))
