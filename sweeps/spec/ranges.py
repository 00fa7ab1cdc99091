"""Ranges of values: ``{start, stop, num}``, ``{start, stop, step}`` and ``{start, num, step}``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.validation import check_choice, check_float, check_int, shown_int, suggest

MAX_LENGTH = 10**7  # of one axis. Its values are held in memory, several times over.
FORM = "a range is start with two of stop, num and step"


def check_keys(name: str, value: Mapping[str, Any], required: tuple[str, ...], *optional: str) -> None:
    """Raise unless a table has all required keys and no unknown one."""
    known = [*required, *optional]
    for key in value:
        if key not in known:
            raise InputError(f"{name} has the unknown key {key!r}; {suggest(key, known)}")
    for key in required:
        if key not in value:
            raise InputError(f"{name} lacks {key!r}; needed: {', '.join(required)}")


def integers(name: str, value: Mapping[str, Any], low: int, high: int) -> NDArray[np.int64]:
    """Return the whole numbers of a range in [low, high]. The step is 1 by default."""
    check_keys(name, value, ("start",), "stop", "num", "step")
    _check_form(name, value, default_step=True)
    first = check_int(f"{name}.start", value["start"], low, high)
    step = check_int(f"{name}.step", value.get("step", 1), 1, high)
    if "stop" not in value:
        count = _length(name, value)
        check_int(f"{name}, its last value", first + step * (count - 1), low, high)
    else:
        last = check_int(f"{name}.stop", value["stop"], low, high)
        if "num" in value:
            count = _length(name, value)
            step = _whole_step(name, first, last, count)
        else:
            count = _count(name, first, last, step)
    return first + step * np.arange(count, dtype=np.int64)


def _whole_step(name: str, first: int, last: int, count: int) -> int:
    _check_ends(name, first, last, count)
    if count > 1 and (last - first) % (count - 1):
        raise InputError(
            f"{name} runs from {first} to {last} in {count} values, which are not all whole numbers; "
            f"num - 1 must divide {last - first}"
        )
    return (last - first) // max(1, count - 1)


def reals(
    name: str, value: Mapping[str, Any], low: float, high: float, *, above: bool
) -> NDArray[np.float64]:
    """Return the numbers of a range in [low, high], or (low, high] with `above`."""

    def number(where: str, item: Any) -> float:
        return check_float(f"{name}{where}", item, low, high, above=above)

    check_keys(name, value, ("start",), "stop", "num", "step", "spacing")
    _check_form(name, value, default_step=False)
    log = check_choice(f"{name}.spacing", value.get("spacing", "linear"), ["linear", "log"]) == "log"
    if log and "step" in value:
        raise InputError(f"{name} has a step and logarithmic spacing; that needs start, stop and num")
    first = number(".start", value["start"])
    if "step" in value:
        step = _decimal(check_float(f"{name}.step", value["step"], 0.0, above=True))
        if "stop" in value:
            count = _count(name, _decimal(first), _decimal(number(".stop", value["stop"])), step)
        else:
            count = _length(name, value)
        last = number(", its last value", _nearest(_decimal(first) + step * (count - 1)))
        values = _grid(_decimal(first), step, count)
    else:
        count, last = _length(name, value), number(".stop", value["stop"])
        _check_ends(name, first, last, count)
        values = _logarithmic(name, first, last, count) if log else _linear(first, last, count)
    if not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        raise InputError(
            f"{name} runs from {first:g} to {last:g}, where {count} values are not all distinct numbers"
        )
    return values


def _length(name: str, value: Mapping[str, Any]) -> int:
    return check_int(f"{name}.num", value["num"], 1, MAX_LENGTH)


def _check_form(name: str, value: Mapping[str, Any], *, default_step: bool) -> None:
    given = [key for key in ("start", "stop", "num", "step") if key in value]
    if len(given) + (default_step and len(given) == 2 and "step" not in given) != 3:
        raise InputError(f"{name} has {', '.join(given)}; {FORM}")


def _check_ends(name: str, first: float, last: float, count: int) -> None:
    if first > last or (count > 1) != (first < last):
        raise InputError(
            f"{name} runs from {first:g} to {last:g} in {count} values; "
            "start < stop is needed, or one value with start = stop"
        )


def _count(name: str, first: int | Fraction, last: int | Fraction, step: int | Fraction) -> int:
    """Return the number of values from first to last, which is one of them if the step meets it."""
    if first > last:
        raise InputError(f"{name} runs from {float(first):g} to {float(last):g}; start <= stop is needed")
    count = int((last - first) // step) + 1
    if count > MAX_LENGTH:
        raise InputError(
            f"{name} runs from {float(first):g} to {float(last):g} by {float(step):g}, which makes "
            f"{shown_int(count)} values; at most {MAX_LENGTH} are allowed"
        )
    return count


def _decimal(number: float) -> Fraction:
    """Return a number as it is written: 1/10 for 0.1, which binary numbers only come near to."""
    return Fraction(repr(number))


def _nearest(number: Fraction) -> float:
    """Return the nearest 64-bit number."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _linear(first: float, last: float, count: int) -> NDArray[np.float64]:
    """Return a grid from first to last.

    If its step is a decimal number, the values are those that a person would write: 0.3, and not
    0.30000000000000004. Hence ``ds.sel(lam=0.3)`` finds them. Otherwise it is NumPy's grid.
    """
    if count == 1:
        return np.array([first])
    step = (_decimal(last) - _decimal(first)) / (count - 1)
    if _terminates(step):
        return _grid(_decimal(first), step, count)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.linspace(first, last, count)
        # A symmetric grid is symmetric to the last bit, with an exact 0 in its middle.
        return np.asarray(0.5 * (values - values[::-1]) if first == -last else values)


def _terminates(number: Fraction) -> bool:
    """Tell whether a number has finitely many decimals: its denominator has no factor but 2 and 5."""
    rest = number.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1


def _grid(start: Fraction, step: Fraction, count: int) -> NDArray[np.float64]:
    """Return start + i step for i < count, each rounded once."""
    below = math.lcm(start.denominator, step.denominator)
    first, stride = int(start * below), int(step * below)
    largest = max(abs(first), abs(first + stride * (count - 1)))
    if largest < 2**53 and below < 2**100 and int(float(below)) == below:
        # Both are exact in 64 bits, so that the quotient is rounded correctly.
        return (first + stride * np.arange(count, dtype=np.int64)) / float(below)
    return np.array([(first + stride * index) / below for index in range(count)])


def _logarithmic(name: str, first: float, last: float, count: int) -> NDArray[np.float64]:
    """Return a grid from first to last with a constant ratio.

    Values that are rational numbers, such as powers of two or of ten, are rounded once: 0.5, and not
    0.49999999999999994.
    """
    if first <= 0:
        raise InputError(f"{name}.start is {first:g}; logarithmic spacing needs it above 0")
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(np.geomspace(first, last, count))
    start, ratio = _decimal(first), _decimal(last) / _decimal(first)
    most = max(ratio.numerator, ratio.denominator).bit_length()  # no rational root is of a higher degree
    for parts in (parts for parts in range(min(most, count - 1), 0, -1) if (count - 1) % parts == 0):
        above, below = _root(ratio.numerator, parts), _root(ratio.denominator, parts)
        if above and below:
            exact = (start * Fraction(above, below) ** index for index in range(parts + 1))
            values[:: (count - 1) // parts] = [_nearest(number) for number in exact]
            break
    return values


def _root(number: int, degree: int) -> int | None:
    """Return the root of a positive whole number if that is a whole number."""
    low, high = 1, 1 << -(-number.bit_length() // degree)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**degree < number else (low, middle)
    return low if low**degree == number else None
