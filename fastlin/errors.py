"""Errors that say what is wrong, where, and what is allowed, and the checks that raise them."""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class InputError(ValueError):
    """Something that was given is not usable; the message is one line and meant for its author."""


class StoppedError(RuntimeError):
    """A run ended before its time; what is done stays, and the message says how to go on."""


class SaddleWarning(UserWarning):
    """The flow from this start ends at a saddle: t = inf is not the global minimum of its rank."""


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return `value` as an int in [low, high]."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} is {value!r}; a whole number is needed")
    if not low <= value <= high:
        raise InputError(f"{name} is {value}; allowed is {low} to {high}")
    return int(value)


def real(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    infinite: bool = False,
) -> float:
    """Return `value` as a float in [low, high], or (low, high] with `above`; finite unless `infinite`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise InputError(f"{name} is {value!r}; a number is needed")
    number = float(value)
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise InputError(f"{name} is {number}; a finite number is needed")
    if not (low < number if above else low <= number) or number > high:
        interval = f"{'above' if above else 'at least'} {low:g}"
        raise InputError(
            f"{name} is {number:g}; it must be {interval}"
            + (f" and at most {high:g}" if high < math.inf else "")
        )
    return number


def array(name: str, value: ArrayLike, shape: str) -> NDArray[np.float64]:
    """Return `value` as a finite float64 array with as many trailing dimensions as `shape` names.

    `shape` is written like "(..., N_h, N_i)" or "(N_h, N_i)"; it is quoted in the message.
    """
    try:
        result = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} is not an array of real numbers; its shape is {shape}") from None
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


def times(value: ArrayLike) -> NDArray[np.float64]:
    """Return times t >= 0 (inf allowed, any order) as a float64 vector."""
    try:
        result = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError("times are not numbers; allowed are t >= 0, and inf") from None
    if result.ndim != 1 or result.size == 0:
        raise InputError(f"times have shape {result.shape}; needed is a non-empty list")
    if not (result >= 0).all():
        raise InputError(f"times hold {result[~(result >= 0)][0]:g}; allowed are t >= 0, and inf")
    return result


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} is {value!r}; {suggest(value, allowed)}")
    return value


def suggest(value: Any, allowed: Sequence[str]) -> str:
    """Return 'did you mean X?' where one is near, and the whole list."""
    near = get_close_matches(str(value), allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(allowed)}"
