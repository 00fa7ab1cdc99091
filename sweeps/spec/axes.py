"""Axes of a sweep: lists and ranges of values, read from a spec and written back in one form."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SEED, MAX_SIZE
from fastlin.validation import check_choice, check_float, check_int, shown, suggest

MAX_LENGTH = 10**7  # of one axis: its values are held in memory, several times over
MAX_SHAPES = 10**5


def integers(name: str, value: Any, low: int = 0, high: int = MAX_SEED) -> NDArray[np.int64]:
    """Read whole numbers: one, a list, or ``{start, num, step = 1}``; sorted, no duplicates."""
    if isinstance(value, dict):
        start, num, step = _range(name, value, required=("start", "num"), optional={"step": 1})
        count = check_int(f"{name}.num", num, 1, MAX_LENGTH)
        first = check_int(f"{name}.start", start, low, high)
        stride = check_int(f"{name}.step", step, 1, high)
        check_int(f"{name}, its last value", first + stride * (count - 1), low, high)
        return first + stride * np.arange(count, dtype=np.int64)
    return _listed(name, value, lambda where, item: check_int(where, item, low, high), np.int64)


def reals(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    infinite: bool = False,
) -> NDArray[np.float64]:
    """Read numbers: one, a list, or ``{start, stop, num, spacing = "linear"}``; sorted, no duplicates."""

    def number(where: str, item: Any) -> float:
        if infinite and item == "inf":  # JSON, in which stores keep specs, has no number for it
            item = math.inf
        return check_float(where, item, low, high, above=above, infinite=infinite)

    if not isinstance(value, dict):
        return _listed(name, value, number, np.float64)
    start, stop, num, spacing = _range(
        name, value, required=("start", "stop", "num"), optional={"spacing": "linear"}
    )
    count = check_int(f"{name}.num", num, 1, MAX_LENGTH)
    first = check_float(f"{name}.start", start, low, high, above=above)
    last = check_float(f"{name}.stop", stop, low, high, above=above)
    if first > last or (count > 1) != (first < last):
        raise InputError(
            f"{name} runs from {first:g} to {last:g} in {count} values; "
            "start < stop is needed, or one value with start = stop"
        )
    log = check_choice(f"{name}.spacing", spacing, ["linear", "log"]) == "log"
    if log and first <= 0:
        raise InputError(f"{name}.start is {first:g}; logarithmic spacing needs it above 0")
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.geomspace(first, last, count) if log else _decimal(np.linspace(first, last, count))
        if first == -last:  # a grid meant to be symmetric: exactly so, with an exact 0 in its middle
            values = 0.5 * (values - values[::-1])
        if not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            raise InputError(
                f"{name} runs from {first:g} to {last:g}, where {count} values are not all distinct numbers"
            )
    return np.asarray(values)


def _decimal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a grid whose steps are short decimals as just these: 0.3, not 0.2999999999999998.

    So that ``ds.sel(lam=0.3)`` finds it; a grid of thirds stays as it is.
    """
    if values.size < 2 or not (0 < values[1] - values[0] < np.inf):
        return values
    decimals = 3 - math.floor(math.log10(values[1] - values[0]))
    rounded = np.round(values, decimals)
    near = np.abs(rounded - values) <= 4 * np.finfo(float).eps * np.abs(values).max()
    ends = rounded[0] == values[0] and rounded[-1] == values[-1]
    return rounded if near.all() and ends else values


def architectures(name: str, value: Any) -> tuple[Architecture, ...]:
    """Read ``[N_i, N_h, N_o]`` or "N_i-N_h-N_o", a list of such, or a product of axes ``{n_i, n_h, n_o}``."""
    if isinstance(value, dict):
        parts = _range(name, value, required=("n_i", "n_h", "n_o"), optional={})
        sizes = [
            integers(f"{name}.{part}", numbers, 1, MAX_SIZE).tolist()
            for part, numbers in zip(("n_i", "n_h", "n_o"), parts, strict=True)
        ]
        if (count := math.prod(len(numbers) for numbers in sizes)) > MAX_SHAPES:
            raise InputError(f"{name} is a product of {count} shapes; at most {MAX_SHAPES} are allowed")
        return tuple(Architecture(*triple) for triple in product(*sizes))
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise InputError(f"{name} is {shown(value)}; needed is a list like [[4, 2, 4], [4, 4, 4]]")
    triples = value if isinstance(value[0], list | str) else [value]
    found = []
    for index, triple in enumerate(triples):
        if not isinstance(triple, str) and (not isinstance(triple, list) or len(triple) != 3):
            raise InputError(f"{name}[{index}] is {shown(triple)}; needed is [N_i, N_h, N_o]")
        try:
            found.append(Architecture.read(triple) if isinstance(triple, str) else Architecture(*triple))
        except InputError as error:
            raise InputError(f"{name}[{index}]: {error}") from None
    if len(set(found)) < len(found):
        twice = max(Counter(found).items(), key=lambda item: item[1])[0]
        raise InputError(f"{name} holds {twice} more than once")
    return tuple(found)


def texts(name: str, value: Any, allowed: Sequence[str]) -> tuple[str, ...]:
    """Read names: one or a list, each among `allowed`, no duplicates, order kept."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise InputError(f"{name} is empty; {suggest('', allowed)}")
    found = tuple(check_choice(name, item, allowed) for item in items)
    if len(set(found)) < len(found):
        raise InputError(f"{name} holds {max(found, key=found.count)!r} more than once")
    return found


def compact(values: NDArray[Any]) -> Any:
    """Return the shortest form that reads back to the same values, bit for bit; JSON-ready."""
    if values.size > 2:
        if values.dtype == np.int64:
            step = int(values[1] - values[0])
            form: dict[str, Any] = {"start": int(values[0]), "num": values.size, "step": step}
            if np.array_equal(values, int(values[0]) + step * np.arange(values.size)):
                return form
        elif np.isfinite(values[-1]):
            form = {"start": float(values[0]), "stop": float(values[-1]), "num": values.size}
            if np.array_equal(values, reals("", form)):
                return form
    return ["inf" if value == math.inf else value for value in values.tolist()]


def _range(
    name: str, value: dict[str, Any], required: tuple[str, ...], optional: dict[str, Any]
) -> list[Any]:
    known = [*required, *optional]
    for key in value:
        if key not in known:
            raise InputError(f"{name} has the unknown key {key!r}; {suggest(key, known)}")
    for key in required:
        if key not in value:
            raise InputError(f"{name} lacks {key!r}; a range needs {', '.join(required)}")
    return [value.get(key, optional.get(key)) for key in known]


def _listed(name: str, value: Any, read: Callable[[str, Any], Any], dtype: Any) -> NDArray[Any]:
    if not isinstance(value, list):
        return np.array([read(name, value)], dtype=dtype)
    if not value:
        raise InputError(f"{name} is empty; at least one value is needed")
    found = [read(f"{name}[{index}]", item) for index, item in enumerate(value)]
    values, counts = np.unique(np.array(found, dtype=dtype), return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{name} holds {values[counts > 1][0]:g} more than once")
    return values
