"""Checks of arguments. Each returns the checked value, or raises an `InputError` of one line."""

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlin.errors import InputError

MOST_LISTED = 20  # allowed values in a message


def shown(value: Any) -> str:
    """Return the `repr` of a value in one line, shortened if it is long; the sizes of arrays and Datasets."""
    if isinstance(sizes := getattr(value, "sizes", None), Mapping):  # of xarray, which is not imported here
        dims = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        return f"<{type(value).__name__} ({dims})>"
    if hasattr(value, "dtype") and np.ndim(value) > 0:
        return f"<{type(value).__name__} {value.shape}>"
    plain = value.item() if isinstance(value, np.generic) else value
    text = " ".join(repr(plain).split())
    return text if len(text) <= 60 else f"{text[:50]}... ({len(text)} characters)"


def check_bool(name: str, value: Any) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}; allowed: true, false")
    return value


def check_int(name: str, value: Any, low: int, high: int) -> int:
    """Return `value` as an int in [low, high]."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} is {shown(value)}; a whole number is needed")
    if not low <= value <= high:
        raise InputError(f"{name} is {shown_int(value)}; allowed is {low} to {high}")
    return int(value)


def check_float(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    infinite: bool = False,
) -> float:
    """Return `value` as a float in [low, high], or (low, high] with `above`, finite unless `infinite`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name} is {shown(value)}; a number is needed")
    try:
        number = float(value)
    except OverflowError:
        raise InputError(f"{name} is {shown_int(value)}; it does not fit a 64-bit number") from None
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise InputError(f"{name} is {number}; a finite number is needed")
    if not (low < number if above else low <= number) or number > high:
        interval = f"{'above' if above else 'at least'} {low:g}"
        raise InputError(
            f"{name} is {number:g}; it must be {interval}"
            + (f" and at most {high:g}" if high < math.inf else "")
        )
    return number


def check_pair(name: str, value: Any, *, above: bool = False) -> tuple[float, float]:
    """Return a number for each layer, at least 0, or above 0 with `above`. One number holds for both."""
    given = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(given, tuple | list):
        number = check_float(name, given, 0.0, above=above)
        return number, number
    if len(given) != 2:
        raise InputError(f"{name} is {shown(given)}; needed is one number, or a pair for (W1, W2)")
    first, second = (check_float(f"{name}[{k}]", part, 0.0, above=above) for k, part in enumerate(given))
    return first, second


def shown_int(value: Any) -> str:
    """Return a whole number as text. A large one is described, because Python prints 4300 digits at most."""
    return str(value) if abs(value) < 10**20 else f"a whole number of {value.bit_length()} bits"


def check_array(name: str, value: ArrayLike, shape: str) -> NDArray[np.float64]:
    """Return `value` as a finite float64 array with as many trailing dimensions as `shape` names.

    `shape` is a text like "(..., N_h, N_i)" or "(N_h, N_i)", which the message quotes.
    """
    result = _numbers(name, value, f"its shape is {shape}")
    named = [part for part in shape.strip("()").split(",") if part.strip()]
    batched = named[0].strip() == "..."
    wanted = len(named) - batched
    if result.ndim < wanted or (result.ndim > wanted and not batched):
        raise InputError(f"{name} has shape {result.shape}; needed is {shape}")
    if result.size == 0:
        raise InputError(f"{name} is empty, with shape {result.shape}; needed is {shape}")
    if not np.isfinite(result).all():
        raise InputError(f"{name} holds NaN or infinite entries")
    return result


def _numbers(name: str, value: ArrayLike, needed: str) -> NDArray[np.float64]:
    """Return an array of real numbers as float64. Text, None and complex numbers are refused."""
    if np.ma.is_masked(value):
        raise InputError(f"{name} has masked entries; {needed}, all of them numbers")
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufO" or any(
            isinstance(item, str | complex | None) for item in _objects(array)
        ):
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is not an array of real numbers; {needed}") from None


def _objects(array: NDArray[Any]) -> list[Any]:
    return array.ravel().tolist() if array.dtype.kind == "O" else []


def check_times(value: ArrayLike) -> NDArray[np.float64]:
    """Return times t >= 0 as a float64 vector. They may be infinite, and in any order."""
    result = np.atleast_1d(_numbers("times", value, "allowed are t >= 0, and inf"))
    if result.ndim != 1 or result.size == 0:
        raise InputError(f"times have shape {result.shape}; needed is a non-empty list")
    if not (result >= 0).all():
        raise InputError(f"times hold {result[~(result >= 0)][0]:g}; allowed are t >= 0, and inf")
    return result


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} is {shown(value)}; {suggest(value, allowed)}")
    return value


def suggest(value: Any, allowed: Sequence[str]) -> str:
    """Return the allowed names, at most 20, as a hint, after "did you mean X?" if one is similar."""
    near = get_close_matches(str(value)[:100], allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = f", and {len(allowed) - MOST_LISTED:,} more" if len(allowed) > MOST_LISTED else ""
    return f"{hint}allowed: {', '.join(allowed[:MOST_LISTED])}{more}"


def check_instance(name: str, value: Any, kind: type, maker: str) -> None:
    """Raise unless `value` is an instance of `kind`. The message says that `maker` makes one."""
    if not isinstance(value, kind):
        raise InputError(f"{name} is {shown(value)}; needed is one of class {kind.__name__}, from {maker}")
